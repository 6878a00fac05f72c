"""`create_app()`: the WSGI application."""

from typing import Any

import falcon

from edge import errors, hashing
from edge.admission import Admission
from edge.middleware import Envelope, cors
from edge.request import Request
from edge.routes import routes
from edge.traces import Traces
from models.auth import breached_passwords
from models.auth.key_file import keyset
from models.auth.password_hashing import PasswordHasher
from models.auth.service_account_catalogue import catalogue
from models.billing import startup
from models.contact.recipients import require_recipients
from models.platform import logs, tracing
from models.platform.settings import Settings
from models.platform.settings import settings as process_settings
from models.platform.startup_checks import EDGE, require_safe
from models.status.services import services
from workers.agents.catalog import catalog
from workers.workflows.catalog import workflows


def create_app(settings: Settings = process_settings, *, hasher: PasswordHasher | None = None) -> falcon.App[Any, Any]:
    """The application. SystemExit for settings, signing keys, a catalogue, a services file or a breach list that cannot work.

    `hasher` hashes all passwords; the default works in low-priority threads.
    """
    logs.configure("edge")
    require_safe(settings, EDGE)
    tracing.start("edge")
    keyset()
    catalogue()
    catalog()
    workflows()
    services()
    breached_passwords.require_usable()
    require_recipients()
    startup.announce(settings)
    middleware: list[Any] = [Envelope(settings), Admission(), cors(settings)]
    if tracing.is_on():
        middleware.insert(0, Traces())
    app: falcon.App[Any, Any] = falcon.App(request_type=Request, middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    app.resp_options.secure_cookies_by_default = True
    errors.install(app)
    for route in routes(settings, hasher or hashing.build_hasher()):
        route.add_to(app)
    return app
