"""/docs: an API reference page made of /openapi.json. Its assets are ours; nothing is fetched from elsewhere."""

from pathlib import Path

import falcon

from models.platform.errors import NotFound

TYPES = {"reference.html": "text/html; charset=utf-8", "reference.css": "text/css", "reference.js": "text/javascript"}
POLICY = "default-src 'self'; style-src 'self'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Reference:
    def __init__(self) -> None:
        folder = Path(__file__).parent / "static"
        self.files = {name: (folder / name).read_bytes() for name in TYPES}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self.on_get_asset(req, resp, "reference.html")

    def on_get_asset(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        if name not in self.files:
            raise NotFound()
        resp.data, resp.content_type = self.files[name], TYPES[name]
        resp.set_header("Content-Security-Policy", POLICY)
        resp.set_header("Cache-Control", "public, max-age=300")

    on_get.guard = on_get_asset.guard = None
