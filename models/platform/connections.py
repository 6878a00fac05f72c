"""How other services may be reached: without TLS only on this machine, and on hosts that PRIVATE_HOSTS names."""

import ipaddress
import os
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qs, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr

from models.platform.secret_strength import password_weakness
from models.platform.settings import Settings

VERIFIED = ("verify-full", "verify-ca")  # libpq's other modes do not check whom they talk to
UNCHECKED = {"ssl_cert_reqs": ("none", "optional"), "ssl_check_hostname": ("false", "no", "0", "f", "n")}
HTTP_ADDRESSES = (
    "vault_addr",
    "openai_base_url",
    "resend_base_url",
    "stripe_api_base",
    "otel_exporter_otlp_endpoint",
    "otel_exporter_otlp_traces_endpoint",
)
REDIS_EXAMPLE = "rediss://:password@host:6379/0"


def is_local(host: str | None) -> bool:
    """Whether a host is this machine: its name, a loopback address, a Unix socket, or none at all."""
    host = (host or "").strip("[]").lower()
    if host in ("", "localhost") or host.startswith("/") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_plain(host: str | None, settings: Settings) -> bool:
    """Whether this host may be reached without TLS."""
    return is_local(host) or (host or "").lower() in settings.items(settings.private_hosts.lower())


def problems(settings: Settings) -> Iterator[str]:
    """The addresses that are unsafe in production, one line each. No line contains an address: it may hold a password."""
    yield from _database(settings)
    yield from _redis("REDIS_URL", settings.redis_url, settings)
    if settings.broker_url:
        yield from _redis("BROKER_URL", settings.broker_url, settings)
    elif not _has_database_number(settings.redis_url):
        yield f"REDIS_URL has no number that BROKER_URL could follow: write {REDIS_EXAMPLE}, or BROKER_URL as well."
    if settings.smtp_url:
        yield from _smtp(settings.smtp_url)
    if settings.minio_endpoint and not settings.minio_secure:
        yield from _storage(settings.minio_endpoint, settings)
    for name in HTTP_ADDRESSES:
        yield from http_problems(name.upper(), getattr(settings, name), settings)
    for server in settings.mcp_tools.get_secret_value():
        yield from http_problems("MCP_TOOLS", server.get("server_url"), settings)


def _database(settings: Settings) -> Iterator[str]:
    example = "postgresql://user:password@host:5432/name?sslmode=verify-full"
    try:
        parts: dict[str, str] = parse_dsn(settings.database_url.get_secret_value())
    except psycopg2.ProgrammingError:
        yield f"DATABASE_URL is not the address of a database: write {example}."
        return
    named = [parts[name] for name in ("host", "hostaddr", "service") if name in parts] or [os.environ.get("PGHOST", "")]
    hosts = ",".join(named).split(",")
    if not all(may_be_plain(host, settings) for host in hosts) and parts.get("sslmode") not in VERIFIED:
        yield f"DATABASE_URL reaches another host without verified TLS: write {example}."
    if "password" in parts:
        yield from _password("DATABASE_URL", parts["password"], parts.get("user"))


def _redis(name: str, address: SecretStr, settings: Settings) -> Iterator[str]:
    url = split(address.get_secret_value())
    schemes = ("redis", "rediss", "unix") if name == "REDIS_URL" else ("redis", "rediss", "unix", "amqp", "amqps")
    if url is None or url.scheme not in schemes:
        yield f"{name} is not an address that can be used: write {REDIS_EXAMPLE}."
        return
    if url.scheme in ("redis", "amqp") and not may_be_plain(url.hostname, settings):
        yield f"{name} reaches another host without TLS: write {url.scheme}s:// instead of {url.scheme}://."
    options = parse_qs(url.query)
    if any(value.lower() in UNCHECKED.get(key, ()) for key, values in options.items() for value in values):
        yield f"{name} does not check the server's certificate: leave ssl_cert_reqs and ssl_check_hostname out."
    if url.password:
        yield from _password(name, url.password, url.username)
    elif not is_local(url.hostname) and "password" not in options:
        yield f"{name} has no password: write {REDIS_EXAMPLE}."


def _has_database_number(address: SecretStr) -> bool:
    url = split(address.get_secret_value())
    return url is None or (url.scheme != "unix" and (url.path.strip("/") or "0").isdecimal())


def _smtp(address: SecretStr) -> Iterator[str]:
    url = split(address.get_secret_value())  # smtp:// needs no check: the gateway insists on STARTTLS
    if url is None or url.scheme not in ("smtp", "smtps") or not url.hostname:
        yield "SMTP_URL is not the address of a mail server: write smtps://user:password@host:465."


def _storage(endpoint: str, settings: Settings) -> Iterator[str]:
    url = split(f"//{endpoint}")
    if url is None or not may_be_plain(url.hostname, settings):
        yield "MINIO_SECURE is off, but MINIO_ENDPOINT is another host: write MINIO_SECURE=true."


def http_problems(name: str, address: str | None, settings: Settings) -> Iterator[str]:
    """What is unsafe about the address of an HTTP service."""
    url = split(address or "https:")
    if url is None or url.scheme not in ("http", "https"):
        yield f"{name} contains an address that is not a URL: write https://host."
    elif url.scheme == "http" and not may_be_plain(url.hostname, settings):
        yield f"{name} reaches another host without TLS: write https:// instead of http://."
    elif url.password:
        yield f"{name} contains a password, which is not kept secret there: write the address without it."


def _password(name: str, password: str, user: str | None) -> Iterator[str]:
    if weakness := password_weakness(password, user):
        yield f"The password in {name} {weakness}: choose a random one, such as `openssl rand -hex 32` prints."


def split(address: str) -> SplitResult | None:
    """The parts of an address; None if it has no valid host or port."""
    try:
        url = urlsplit(address)
        _ = url.port  # raises for a port that is not a number
    except ValueError:
        return None
    return url
