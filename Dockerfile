# Small, and not root. Which process runs is the command's choice; see Procfile and docker-compose.yml.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY models models
COPY workers workers
COPY edge edge
COPY scheduler scheduler
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app longshore && install -d -o longshore /app /var/lib/longshore
WORKDIR /app
COPY --from=build /venv /venv
COPY --chown=longshore edge/gunicorn.py edge/gunicorn.py
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ENVIRONMENT=production HOST=0.0.0.0 AUTH_KEY_STORAGE_PATH=/var/lib/longshore/keyset.json
USER longshore
EXPOSE 8000
CMD ["gunicorn", "--config", "edge/gunicorn.py", "edge.app:create_app()"]
