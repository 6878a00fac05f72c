"""What `dramatiq workers.main` loads: the broker, the keeper and every actor."""

from dramatiq.threading import is_gevent_active

if is_gevent_active():
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

from models.platform import logs
from models.platform.settings import settings
from workers import chat, housekeeping
from workers.broker import broker
from workers.mail import accounts, signup
from workers.runtime import keeper

logs.configure("worker")
settings.require_safe()
broker.add_middleware(keeper)

__all__ = ["accounts", "broker", "chat", "housekeeping", "signup"]
