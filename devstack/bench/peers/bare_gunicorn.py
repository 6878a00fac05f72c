"""gunicorn's settings for the bare webhook: those of the edge, with gunicorn's own worker."""

import os

from gevent import monkey

monkey.patch_all()

from psycogreen.gevent import patch_psycopg  # noqa: E402

patch_psycopg()

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = "gevent"
worker_connections = 20_000
backlog = 4096
keepalive = 30
loglevel = "warning"
control_socket_disable = True
