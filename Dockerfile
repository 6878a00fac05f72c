# Small, and not root. Which process runs is the command's choice; see Procfile and docker-compose.yml.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
# With traces: docker compose build --build-arg LOCK=requirements-otel.lock
ARG LOCK=requirements.lock
COPY ${LOCK} ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r ${LOCK}

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --system --uid 10001 --home-dir /app longshore && install -d -o longshore -g longshore -m 0700 /var/lib/longshore
COPY --from=build /venv /venv
# Our own code is copied, not installed: that would fetch build tools that no lock file names. It belongs to root.
WORKDIR /app
COPY models models
COPY workers workers
COPY edge edge
COPY scheduler scheduler
RUN python -m compileall -q .
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV AUTH_KEY_STORAGE_PATH=/var/lib/longshore/keyset.json
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "--config", "edge/gunicorn.py", "edge.app:create_app()"]
