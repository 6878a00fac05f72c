"""/robots.txt: crawlers have no business here."""

import falcon

from edge.auth import PUBLIC
from edge.endpoint import undocumented
from edge.request import Request


class Robots:
    @undocumented(guard=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        resp.content_type, resp.text = falcon.MEDIA_TEXT, "User-agent: *\nDisallow: /\n"
