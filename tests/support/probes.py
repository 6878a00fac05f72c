"""Results of probes, and services to probe."""

import contextlib
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from models.platform.clock import now


def found(service, *results, until=None, reason=None):
    """Results of a service's probes, one of each minute, the last one at `until` (default: now)."""
    from models.platform.database import database

    end = (until or now()).replace(second=0, microsecond=0)
    for number, result in enumerate(reversed(results)):
        minute = end - timedelta(minutes=number)
        statement = "insert into status_check (service, minute, claimed_at, result, seconds, reason) values (%s, %s, %s, %s, 0.2, %s)"
        database.execute_sql(statement, (service, minute, minute, result, reason))


class Site:
    """An HTTP server on 127.0.0.1. `status`, `body`, `headers`: of its answers. `seconds`: until they come. `drip`: between bytes."""

    def __init__(self, port=0):
        self.status, self.body, self.headers, self.seconds, self.drip, self.asked = 200, b"ok", {}, 0.0, None, []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                time.sleep(site.seconds)
                self.send_response(site.status)
                for name, value in {"Content-Length": str(len(site.body)), **site.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the client had enough
                    for part in [site.body] if site.drip is None else [bytes([byte]) for byte in site.body]:
                        self.wfile.write(part)
                        self.wfile.flush()
                        time.sleep(site.drip or 0)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def services_file(path, **probes):
    """A services file with one service of each name; its probe as TOML, or None. Returns its path."""
    lines = []
    for key, probe in probes.items():
        lines += [f"[services.{key}]", f'name = "{key.title()}"', 'description = "A service."', 'owner = "Lab"']
        lines += [f"probe = {probe}"] if probe else []
    path.write_text("\n".join(lines) + "\n")
    return str(path)
