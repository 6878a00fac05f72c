"""A request, with what the edge knows about its caller."""

from typing import Any

import falcon
from falcon.util import structures

from models.platform.client_info import ClientInfo
from models.platform.principal import Principal
from models.platform.tracing import Span


class Context(structures.Context):
    """Set by the middleware, except `principal` and `claims`: `edge.auth.admit` sets those, unless the route is public."""

    began: float  # time.perf_counter() when the request arrived
    correlation_id: str
    client: ClientInfo
    span: Span  # set if traces are on
    admitted: bool  # set if the request counts as one in progress
    principal: Principal
    caller: Principal | None  # on a route that anybody may call, but whose caller it wants to know
    claims: dict[str, Any]  # of the access token


class Request(falcon.Request):
    context_type = Context
    context: Context
