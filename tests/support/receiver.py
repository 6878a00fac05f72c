"""A receiver of webhooks on 127.0.0.1, which answers as it is told."""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """`got`: (path, headers, body) of all requests. `answers`: statuses of the next answers; then 204."""

    def __init__(self, tls=None, port=0):
        self.got, self.answers, self.headers, self.drip = [], [], {}, None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, dict(self.headers), body))
                if receiver.drip:
                    receiver._drip(self.wfile)
                    return
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def _drip(self, out):
        with contextlib.suppress(OSError):
            for byte in self.drip:
                out.write(bytes([byte]))
                out.flush()
                time.sleep(0.05)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
