"""`create_app()`: the WSGI application."""

from typing import Any

import falcon

from edge import errors, hashing
from edge.middleware import Envelope, cors
from edge.request import Request
from edge.routes import routes
from models.auth.key_file import keyset
from models.auth.service_accounts import catalogue
from models.platform import logs
from models.platform.settings import Settings
from models.platform.settings import settings as process_settings


def create_app(settings: Settings = process_settings) -> falcon.App[Any, Any]:
    """The application for these settings.

    SystemExit if the settings are unsafe, or the signing keys or the catalogue of service accounts cannot be loaded.
    """
    logs.configure("edge")
    settings.require_safe()
    keyset()
    catalogue()
    hashing.install()
    app: falcon.App[Any, Any] = falcon.App(request_type=Request, middleware=[Envelope(settings), cors(settings)])
    app.req_options.strip_url_path_trailing_slash = True
    app.resp_options.secure_cookies_by_default = True
    errors.install(app)
    for route in routes(settings):
        route.add_to(app)
    return app
