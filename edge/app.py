"""`create_app()`: the WSGI application."""

import json

import falcon

from edge import errors, hashing
from edge.middleware import Envelope, cors
from edge.openapi import OpenApi, document
from edge.routes import routes
from models import logs, progress
from models.keys import keyset
from models.service_accounts import catalogue
from models.settings import settings

METHODS = ("get", "post", "put", "patch", "delete")


def create_app() -> falcon.App:
    logs.configure("edge")
    settings.require_safe()
    keyset(), catalogue()  # without a signing key there is no point in starting
    hashing.install()
    app = falcon.App(middleware=[Envelope(), cors()])
    app.req_options.strip_url_path_trailing_slash = True
    app.resp_options.secure_cookies_by_default = True
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = falcon.media.JSONHandler(dumps=progress.encode)
    errors.install(app)
    table = routes()
    for path, resource, suffix in table:
        answer_head(resource, suffix)
        require_guard(path, resource, suffix)
        app.add_route(path, resource, suffix=suffix)
    text = json.dumps(document(table), ensure_ascii=False).encode()
    for _, resource, _ in table:
        if isinstance(resource, OpenApi):
            resource.text = text
    return app


def answer_head(resource: object, suffix: str | None) -> None:
    """HEAD is GET without the body. A stream has no HEAD: it would hold what nobody reads."""
    end = f"_{suffix}" if suffix else ""
    responder = getattr(resource, f"on_get{end}", None)
    if responder is not None and not getattr(getattr(responder, "operation", None), "streams", False):
        setattr(resource, f"on_head{end}", responder)


def require_guard(path: str, resource: object, suffix: str | None) -> None:
    """A responder that says nothing about who may call it is a mistake: refuse to start."""
    end = f"_{suffix}" if suffix else ""
    for method in METHODS:
        responder = getattr(resource, f"on_{method}{end}", None)
        if responder is not None and not hasattr(responder, "guard"):
            raise RuntimeError(f"{method.upper()} {path} has neither @allow nor @public")
