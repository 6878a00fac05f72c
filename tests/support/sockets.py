"""A server that answers every HTTP request with what a test says."""

import contextlib
import socket
import threading


class Answering:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.answer = self.listener.getsockname()[1], b""
        threading.Thread(target=self._accept, daemon=True).start()

    def answer_with(self, answer):
        """`answer`: bytes, or a function of the connection."""
        self.answer = answer

    def _accept(self):
        with contextlib.suppress(OSError):  # the test is over
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            while connection.recv(65_536):
                if callable(self.answer):
                    self.answer(connection)
                else:
                    connection.sendall(self.answer)


@contextlib.contextmanager
def answering():
    server = Answering()
    try:
        yield server
    finally:
        server.listener.close()
