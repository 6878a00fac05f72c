"""gunicorn's settings for the edge: one gevent worker per process; a stream is a greenlet."""

import os
import resource
from typing import Any

from gevent import monkey

monkey.patch_all()

from psycogreen.gevent import patch_psycopg  # noqa: E402

patch_psycopg()

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "edge.connections.Worker"
workers = int(os.environ.get("EDGE_WORKERS", "1"))
worker_connections = 20_000
backlog = 4096
keepalive = 30  # seconds from one answer, or the start, until the next head is complete
limit_request_fields = 64  # of 8 KB at most
timeout = 60
graceful_timeout = 5  # seconds; streams are cut after this, and clients resume them
loglevel = "warning"
control_socket_disable = True


def on_starting(server: object) -> None:
    """Refuse unsafe settings once, in the master: it would replace every worker that refuses them."""
    from models.platform.settings import settings
    from models.platform.startup_checks import EDGE, require_safe

    require_safe(settings, EDGE)


def post_worker_init(worker: object) -> None:
    from models.platform import memory

    memory.freeze()


def worker_exit(server: object, worker: object) -> None:
    from models.platform import tracing

    tracing.stop()


def child_exit(server: object, worker: Any) -> None:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
