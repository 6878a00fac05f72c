"""A request, with what the edge knows of its caller."""

from typing import Any

import falcon
from falcon.util import structures

from models.platform.client_info import ClientInfo
from models.platform.principal import Principal


class Context(structures.Context):
    """Set by the middleware; `principal` and `claims` by the guard of a responder that is not public."""

    began: float  # time.perf_counter() at the first line of the request
    correlation_id: str
    client: ClientInfo
    principal: Principal
    claims: dict[str, Any]  # of the access token


class Request(falcon.Request):
    context_type = Context
    context: Context
