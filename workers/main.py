"""What `dramatiq workers.main` loads: the broker, the heartbeat and every actor."""

from dramatiq.threading import is_gevent_active

if is_gevent_active():
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

from models.platform import logs
from models.platform.settings import settings
from workers import chat, housekeeping
from workers.agents.catalog import catalog
from workers.broker import broker
from workers.heartbeat import heartbeat
from workers.mail import accounts, signup

logs.configure("worker")
settings.require_safe()
catalog()  # refuses to start with an MCP_TOOLS or a models file that cannot work
broker.add_middleware(heartbeat)

__all__ = ["accounts", "broker", "chat", "housekeeping", "signup"]
