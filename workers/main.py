"""What `dramatiq workers.main` loads: the broker, the heartbeat and every actor."""

from importlib import import_module

from dramatiq.threading import is_gevent_active

if is_gevent_active():
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

from models.platform import logs, tracing
from models.platform.settings import settings
from models.platform.startup_checks import WORKER, require_safe

require_safe(settings, WORKER)  # the imports below already use the settings

import dramatiq  # noqa: E402

from models.billing import startup  # noqa: E402
from models.status.services import services  # noqa: E402
from workers import chat, housekeeping  # noqa: E402
from workers.agents.catalog import catalog  # noqa: E402
from workers.billing import events as billing_events  # noqa: E402
from workers.billing import notices as billing_notices  # noqa: E402
from workers.billing import operations as billing_operations  # noqa: E402
from workers.billing import (  # noqa: E402
    reconciliation,
    usage,
)
from workers.broker import broker  # noqa: E402
from workers.containers import actors as container_actors  # noqa: E402
from workers.heartbeat import heartbeat  # noqa: E402
from workers.mail import accounts, signup  # noqa: E402
from workers.mail import billing as billing_mails  # noqa: E402
from workers.mail import contact as contact_mails  # noqa: E402
from workers.mail import status as status_mails  # noqa: E402
from workers.status import challenges as status_challenges  # noqa: E402
from workers.status import deliver as status_deliveries  # noqa: E402
from workers.status import fan_out as status_fan_out  # noqa: E402
from workers.status import maintenance as status_maintenance  # noqa: E402
from workers.status import outcomes as status_outcomes  # noqa: E402
from workers.status import probing as status_probing  # noqa: E402
from workers.storage import reconciliation as storage_reconciliation  # noqa: E402
from workers.storage import removing, verifying  # noqa: E402
from workers.vector_stores import chunks, indexing  # noqa: E402
from workers.vector_stores import files as vector_store_files  # noqa: E402
from workers.vector_stores import reconciliation as vector_store_reconciliation  # noqa: E402
from workers.vector_stores import stores as vector_stores  # noqa: E402
from workers.vector_stores import sync as vector_store_sync  # noqa: E402
from workers.workflows import actors as workflow_actors  # noqa: E402
from workers.workflows.catalog import workflows  # noqa: E402


class Traces(dramatiq.Middleware):
    """Sends the last spans before the process ends."""

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        tracing.stop()


catalog()  # refuses to start with an MCP_TOOLS or a models file that cannot work
workflows()
services()
tracing.start("worker")
if is_gevent_active() and catalog().asks_servers:
    import_module(
        "workers.agents.mcp.tools"
    )  # takes a second, in which this process renews no lease: so before it has any
logs.configure("worker")  # after the models are read, whose keys logs must not show
startup.announce(settings)
broker.add_middleware(heartbeat)
broker.add_middleware(Traces())

__all__ = [
    "accounts",
    "billing_events",
    "billing_mails",
    "billing_notices",
    "billing_operations",
    "broker",
    "chat",
    "chunks",
    "contact_mails",
    "container_actors",
    "housekeeping",
    "indexing",
    "reconciliation",
    "removing",
    "signup",
    "status_challenges",
    "status_deliveries",
    "status_fan_out",
    "status_mails",
    "status_maintenance",
    "status_outcomes",
    "status_probing",
    "storage_reconciliation",
    "usage",
    "vector_store_files",
    "vector_store_reconciliation",
    "vector_store_sync",
    "vector_stores",
    "verifying",
    "workflow_actors",
]
