"""Webhooks that we send to addresses of strangers, in the form of Standard Webhooks (https://www.standardwebhooks.com).

The name is resolved at every send, all its addresses must be public, and the connection goes to one of exactly these: what
DNS says a moment later does not matter. Redirects are not followed, no proxy is used, and the answer is not read.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from models.platform.public_urls import NotPublic, Target, check, is_public
from models.platform.settings import settings

CONNECT_SECONDS, ANSWER_SECONDS = 3, 8
LONGEST_SECONDS = 12  # for all of it, however slowly the receiver speaks
LARGEST_BODY = 256 * 1024
MOST_ADDRESSES = 3  # that are tried
PREFIX = "whsec_"


class TargetRefused(Exception):
    """The address does not lead to the public internet. `reason` is a sentence that its owner may read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryFailed(Exception):
    """The receiver did not accept it, or was not reached. `status`: what it answered, if it did."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


@dataclass(frozen=True, slots=True)
class Message:
    """`id`: stays the same at every attempt, so that receivers can tell a repeated one. `body`: JSON."""

    id: str
    body: bytes


def send(
    url: str,
    message: Message,
    secrets: Sequence[str],
    timestamp: int,
    *,
    headers: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> int:
    """Post a message, signed with each of the secrets (`whsec_...`). Returns the status, which is 200 to 299.

    TargetRefused, DeliveryFailed. It takes `seconds` (default: LONGEST_SECONDS) at most, beside the time that DNS and connecting
    take. `headers`: more of them; the usual ones win.
    """
    if len(message.body) > LARGEST_BODY:
        raise ValueError("the message is too large")
    try:
        target = check(url)
    except NotPublic as error:
        raise TargetRefused(error.reason) from None
    all_headers = {
        **(headers or {}),
        "Host": target.authority,
        "Content-Type": "application/json",
        "User-Agent": f"{settings.app_name}/{settings.app_version} (webhooks)",
        "Accept-Encoding": "identity",
        **signed(message, secrets, timestamp),
    }
    status = _post(target, addresses(target), all_headers, message.body, seconds or LONGEST_SECONDS)
    if not 200 <= status < 300:
        kind = "It redirected, which is not followed." if 300 <= status < 400 else "It did not accept the message."
        raise DeliveryFailed(kind, status)
    return status


def signed(message: Message, secrets: Sequence[str], timestamp: int) -> dict[str, str]:
    """The three headers of Standard Webhooks. `timestamp`: seconds since 1970."""
    content = b"%b.%d.%b" % (message.id.encode(), timestamp, message.body)
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()}"


def addresses(target: Target) -> list[str]:
    """The addresses of the target's host. TargetRefused if one of them is not public; DeliveryFailed if it has none."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryFailed(f"Its name cannot be resolved ({type(error).__name__}).") from None
    texts = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not target.trusted and not all(_is_public(text) for text in texts):
        raise TargetRefused("Its name leads to an address that is not public.")
    return texts[:MOST_ADDRESSES]


def _is_public(text: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(text))
    except ValueError:
        return False


def _post(target: Target, found: list[str], headers: dict[str, str], body: bytes, seconds: float) -> int:
    for address in found:
        try:
            connected = socket.create_connection((address, target.port), timeout=CONNECT_SECONDS)
        except OSError:
            continue
        with _limited(connected, seconds) as line:
            try:
                return line.post(target, headers, body)
            except ssl.SSLError:
                raise DeliveryFailed("Its certificate is not valid for this name, or it speaks no TLS.") from None
            except (http.client.HTTPException, OSError) as error:  # perhaps it got it: the next address is not tried
                late = "It did not answer in time." if line.is_late or isinstance(error, TimeoutError) else None
                raise DeliveryFailed(late or f"It did not answer properly ({type(error).__name__}).") from None
    raise DeliveryFailed("It cannot be reached.")


class Line:
    """A connection that is broken off after some time: a timeout of the socket begins anew with each byte."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket, self.is_late = connected, False

    def post(self, target: Target, headers: dict[str, str], body: bytes) -> int:
        """The status of the answer, which is not read any further: it may be endless."""
        self.socket.settimeout(ANSWER_SECONDS)
        if target.scheme == "https":
            self.socket = _tls().wrap_socket(self.socket, server_hostname=target.host, do_handshake_on_connect=False)
            self.socket.do_handshake()
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = self.socket
        connection.request("POST", target.path, body, headers)
        return connection.getresponse().status

    def break_off(self) -> None:
        self.is_late = True
        with contextlib.suppress(OSError):  # it is closed already
            self.socket.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _limited(connected: socket.socket, seconds: float) -> Iterator[Line]:
    line = Line(connected)
    timer = threading.Timer(seconds, line.break_off)
    timer.daemon = True
    timer.start()
    try:
        yield line
    finally:
        timer.cancel()
        line.socket.close()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
