"""A real browser for tests of pages. Where the machine has none, the tests that want one are skipped."""

import contextlib
import os
import shutil
import socketserver
import threading
from wsgiref import simple_server

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no browser here: install Chromium (apt-get install chromium), or set CHROMIUM to the path of one"


def find():
    """The path of a Chromium; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browsing():
    """A browser, or the reason to skip. To be closed soon: while it runs, asyncio cannot be used in this thread."""
    path = find()
    if path is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def violations(page):
    """What axe finds wrong with the page for people with disabilities: ["rule: element, element", ...]."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{found['id']}: {', '.join(str(node['target'][0]) for node in found['nodes'])}"
        for found in Axe().run(page).response["violations"]
    ]


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(app):
    """The address of a server of this WSGI application, in threads of this process."""
    with simple_server.make_server("127.0.0.1", 0, app, _Server, _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
