"""Pages of HTML: templates in edge/templates, one style sheet, no script. Errors of a page are pages too."""

import base64
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edge import errors
from edge.request import Request
from models.platform.errors import DomainError, NotFound, RateLimited
from models.platform.settings import settings

TEMPLATES = Path(__file__).parent / "templates"
STYLE = (TEMPLATES / "status" / "style.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
DIRECTIVES = (
    "default-src 'none'",
    f"style-src 'sha256-{_HASH}'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
POLICY = "; ".join(DIRECTIVES)
HTML = "text/html; charset=utf-8"
Responder = Callable[..., None]

templates = Environment(
    loader=FileSystemLoader(TEMPLATES / "status"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals["style"] = STYLE


def render(template: str, **values: object) -> str:
    return templates.get_template(template).render(app_name=settings.app_name, **{"here": None, **values})


def message(
    resp: falcon.Response, title: str, text: str, *, tone: str = "none", status: int = 200, **more: object
) -> None:
    """Answer with a page that says one thing. `button`: the text of one that posts to the same address."""
    resp.status = falcon.code_to_http_status(status)
    resp.content_type = HTML
    resp.text = render("message.html", title=title, text=text, tone=tone, **{"button": None, "grave": False, **more})


def page(responder: Responder) -> Responder:
    """What the responder answers may be shown in this origin, and its errors are pages."""

    @functools.wraps(responder)
    def answer(resource: object, req: Request, resp: falcon.Response, **params: Any) -> None:
        resp.set_header("Content-Security-Policy", POLICY)
        try:
            responder(resource, req, resp, **params)
        except DomainError as error:
            errors.note(error)
            _show(resp, error)
        except errors.STORE_ERRORS as error:
            errors.note(error)
            message(
                resp,
                "Not now",
                "This page cannot be made at present. Please try again in a minute.",
                tone="slow",
                status=503,
            )

    return answer


def _show(resp: falcon.Response, error: DomainError) -> None:
    resp.set_headers(error.headers)
    text = error.message
    if isinstance(error, errors.Invalid) and error.details:
        text = error.details[0].msg
    if isinstance(error, RateLimited):
        text = "That was too often. Please try again later."
    title = "There is no such page" if isinstance(error, NotFound) else "That did not work"
    message(resp, title, text, tone="slow", status=error.status)
