"""/robots.txt: crawlers have no business here."""

import falcon

from edge.endpoint import undocumented
from edge.request import Request
from models.platform.authorization import PUBLIC


class Robots:
    @undocumented(action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> None:
        resp.content_type, resp.text = falcon.MEDIA_TEXT, "User-agent: *\nDisallow: /\n"
