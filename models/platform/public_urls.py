"""Addresses that strangers give us to send something to: they must lead to the public internet, and nowhere else.

`check` judges the text, when an address is saved and again when it is used; `is_public` judges what its name resolves to,
at each use. WEBHOOK_TRUSTED_HOSTS names the exceptions.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from models.platform.settings import settings

PORTS = (443, 8443)  # others are where services listen that speak something else
PLAIN_PORTS = (80, 8080)  # without TLS, in development only
USUAL_PORTS = {"http": 80, "https": 443}
LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
NUMBER = re.compile(
    r"[0-9]+|0x[0-9a-f]*"
)  # a last label that browsers and C libraries take for a part of an IPv4 address
LONGEST_NAME = 253
LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion")
NOT_PUBLIC_4 = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' networks; also metadata services of some clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
PUBLIC_6 = ipaddress.ip_network("2000::/3")  # all that is assigned; so no mapped, unique local, link-local or multicast
NOT_PUBLIC_6 = [
    ipaddress.ip_network(text)
    for text in (
        "2001::/23",  # Teredo and other tunnels, which hide an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4: the same
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]


class NotPublic(Exception):
    """Nothing is sent to this address. `reason` is a sentence that its owner may read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """An address whose text is acceptable. `trusted`: it is one of WEBHOOK_TRUSTED_HOSTS, wherever it leads."""

    scheme: str
    host: str
    port: int
    path: str
    trusted: bool

    @property
    def authority(self) -> str:
        """The host as a URL or a Host header has it: IPv6 in brackets, and the port unless it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == USUAL_PORTS[self.scheme] else f"{host}:{self.port}"


def check(url: str) -> Target:
    """The parts of a URL to which something may be sent, as far as its text says. NotPublic."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise NotPublic("Webhook URL must be plain ASCII; write names of other alphabets in their xn-- form.")
    parts, port = _split(url)
    host = (parts.hostname or "").lower()
    if parts.scheme not in ("http", "https") or not host:
        raise NotPublic("Webhook URL must include http(s) scheme and host.")
    if "@" in parts.netloc:
        raise NotPublic("Webhook URL must not contain a user name or password.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    known = port or USUAL_PORTS[parts.scheme]
    trusted = f"{host}:{known}" in settings.items(settings.webhook_trusted_hosts.lower())
    if parts.scheme == "http" and settings.hardened:
        raise NotPublic("Webhook URL must begin with https://.")
    if not trusted:
        _check_port(parts.scheme, known)
        _check_host(host)
    return Target(parts.scheme, host, known, path, trusted)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotPublic("Webhook URL must include http(s) scheme and host.") from None
    if port == 0:
        raise NotPublic("Webhook URL has a port that cannot be used.")
    return parts, port


def _check_port(scheme: str, port: int) -> None:
    if port not in PORTS and not (scheme == "http" and port in PLAIN_PORTS):
        raise NotPublic(f"Webhook URL must use port {' or '.join(map(str, PORTS))}.")


def _check_host(host: str) -> None:
    """An IP address in its usual form, which is public, or a full name. Everything that could be read in two ways is refused."""
    if ":" in host:  # urlsplit has taken the brackets away
        _check_address(host)
        return
    labels = host.split(".")
    if NUMBER.fullmatch(labels[-1]):
        _check_address(host)
        return
    if labels[-1] in LOCAL_NAMES or len(labels) < 2:
        raise NotPublic("Webhook target cannot point to localhost or a private network.")
    if len(host) > LONGEST_NAME or not all(LABEL.fullmatch(label) for label in labels):
        raise NotPublic("Webhook target hostname is not valid.")


def _check_address(text: str) -> None:
    try:
        address = ipaddress.ip_address(text)  # takes no octal, hexadecimal or shortened form
    except ValueError:
        raise NotPublic("Webhook target hostname is not valid.") from None
    if not is_public(address):
        raise NotPublic("Webhook target must be a public HTTPS endpoint.")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to the public internet. What embeds an IPv4 address in IPv6 does not."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)


def masked(url: str | None) -> str | None:
    """What logs may show of a URL: its scheme and host. Its path may be a secret."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
