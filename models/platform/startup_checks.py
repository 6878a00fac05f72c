"""What a process refuses to start with: settings that cannot work, and in production those that are not safe.

All refusals are collected, and printed as one list. Each line says which setting, what is wrong, and what to write.
"""

import importlib.util
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from email.utils import parseaddr

from pydantic import SecretStr

from models.platform.connections import is_local, split
from models.platform.connections import problems as connection_problems
from models.platform.secret_strength import key_weakness, password_weakness
from models.platform.settings import Settings
from models.platform.slack_settings import WrongChannels, default_channels, tenant_channels

EDGE, WORKER, SCHEDULER, RELEASE = "edge", "worker", "scheduler", "release"
PROCESSES = (EDGE, WORKER, SCHEDULER, RELEASE)
WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{22,}={0,2}")
RANDOM = "write what `openssl rand -hex 32` prints"


def require_safe(settings: Settings, process: str) -> None:
    """SystemExit that lists everything this process must not start with."""
    if lines := problems(settings, [process]):
        raise SystemExit("\n".join(lines))


def problems(settings: Settings, processes: Collection[str] = PROCESSES) -> list[str]:
    """One line for each refusal. A value that is unsafe is refused everywhere, a missing one where it is needed."""
    lines = [*_missing(settings, processes)]
    for check in (*ALWAYS, *(IN_PRODUCTION if settings.hardened else ())):
        lines += check(settings)
    return lines


def _missing(settings: Settings, processes: Collection[str]) -> Iterator[str]:
    def needed(value: object, *by: str) -> bool:
        return not value and not set(by).isdisjoint(processes)

    if needed(settings.secret_key, EDGE, WORKER):
        yield f"SECRET_KEY is not set: {RANDOM}."
    if settings.enable_billing and needed(_text(settings.stripe_secret_key), WORKER):
        yield "STRIPE_SECRET_KEY is not set, which ENABLE_BILLING needs: write the secret key of your Stripe account."
    if settings.enable_billing and needed(_text(settings.stripe_webhook_secret), EDGE):
        yield "STRIPE_WEBHOOK_SECRET is not set, which ENABLE_BILLING needs: write the secret of the webhook endpoint."
    if settings.resend_email_enabled and needed(_text(settings.resend_api_key), WORKER):
        yield "RESEND_API_KEY is not set, which RESEND_EMAIL_ENABLED needs: write a key of your Resend account."
    if not settings.hardened:
        return
    if needed(settings.metrics_token, EDGE):
        yield f"METRICS_TOKEN is not set, so that everybody may read /metrics: {RANDOM}."
    if needed(settings.openai_api_key or settings.models_path, WORKER):
        yield "OPENAI_API_KEY is not set, so that agents cannot reach a model: write the provider's key, or MODELS_PATH."
    sends_mail = settings.smtp_url or settings.resend_email_enabled
    if needed(sends_mail or not settings.require_email_verification, WORKER):
        yield (
            "SMTP_URL is not set, so that nobody can verify an address: write smtps://user:password@host:465, "
            "or RESEND_EMAIL_ENABLED=true, or REQUIRE_EMAIL_VERIFICATION=false."
        )


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value().strip(" ,") if secret else ""


# ---------------------------------------------------------------- everywhere


def _signature_verifier(settings: Settings) -> Iterator[str]:
    if settings.service_issue_verifier == "hmac" and not settings.service_issue_secret:
        yield f"SERVICE_ISSUE_SECRET is not set, which SERVICE_ISSUE_VERIFIER=hmac needs: {RANDOM}."
    if settings.service_issue_verifier == "vault" and not (settings.vault_addr and settings.vault_token):
        yield "VAULT_ADDR or VAULT_TOKEN is not set, which SERVICE_ISSUE_VERIFIER=vault needs: write both."


def _developer_signature(settings: Settings) -> Iterator[str]:
    if settings.service_issue_dev_local and settings.hardened:
        yield "SERVICE_ISSUE_DEV_LOCAL lets anybody issue tokens in production: leave it out."
    elif settings.service_issue_dev_local and not is_local(settings.host):
        yield "SERVICE_ISSUE_DEV_LOCAL is only for an edge that no other machine reaches: write HOST=127.0.0.1."


def _proxy_networks(settings: Settings) -> Iterator[str]:
    for text in settings.items(settings.trusted_proxies):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"TRUSTED_PROXIES contains {text!r}, which is no network: write 10.0.0.0/24."
            continue
        if settings.hardened and network.prefixlen == 0:
            yield f"TRUSTED_PROXIES contains {text}, so that every client may choose its address: write your proxies'."


def _browser_logs(settings: Settings) -> Iterator[str]:
    takes_signed = settings.enable_frontend_log_ingest and settings.allow_anon_frontend_logs
    if takes_signed and not _text(settings.frontend_log_shared_secret):
        yield f"FRONTEND_LOG_SHARED_SECRET is not set, which ALLOW_ANON_FRONTEND_LOGS needs: {RANDOM}."


def _trace_library(settings: Settings) -> Iterator[str]:
    if settings.traces_endpoint and not _can_import("opentelemetry.exporter.otlp.proto.http"):
        yield "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is missing: install longshore[otel]."


def _slack(settings: Settings) -> Iterator[str]:
    if not settings.enable_slack_status_notifications:
        return
    if not settings.slack_status_bot_token:
        yield "SLACK_STATUS_BOT_TOKEN is not set, which ENABLE_SLACK_STATUS_NOTIFICATIONS needs: write the bot's token."
    try:
        if not any([default_channels(settings), *tenant_channels(settings).values()]):
            yield "SLACK_STATUS_DEFAULT_CHANNELS names no channel, nor does SLACK_STATUS_TENANT_CHANNEL_MAP: write one, such as #status."
    except WrongChannels as error:
        yield str(error)


def _can_import(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


# ---------------------------------------------------------------- in production


def _debug(settings: Settings) -> Iterator[str]:
    if settings.debug:
        yield "DEBUG is on, so that any Host header is accepted: leave it out."


def _fixtures(settings: Settings) -> Iterator[str]:
    if settings.use_test_fixtures:
        yield "USE_TEST_FIXTURES lets anybody be anybody: leave it out."


def _keys(settings: Settings) -> Iterator[str]:
    for name in (
        "secret_key",
        "secret_key_previous",
        "metrics_token",
        "service_issue_secret",
        "frontend_log_shared_secret",
    ):
        value: SecretStr | None = getattr(settings, name)
        for key in settings.items(value.get_secret_value()) if value else ():
            if weakness := key_weakness(key):
                yield f"{name.upper()} {weakness}: {RANDOM}."


def _shared_keys(settings: Settings) -> Iterator[str]:
    """A scraper must not hold the root of all keys."""
    names = ("secret_key", "metrics_token", "service_issue_secret")
    values = [getattr(settings, name) for name in names if getattr(settings, name)]
    if len({value.get_secret_value() for value in values}) < len(values):
        yield f"SECRET_KEY, METRICS_TOKEN and SERVICE_ISSUE_SECRET are not all different: {RANDOM} for each of them."


def _storage_password(settings: Settings) -> Iterator[str]:
    if not settings.minio_secret_key:
        return
    if weakness := password_weakness(settings.minio_secret_key.get_secret_value(), settings.minio_access_key):
        yield f"MINIO_SECRET_KEY {weakness}: choose a random one, and {RANDOM}."


def _hosts_and_origins(settings: Settings) -> Iterator[str]:
    if not settings.items(settings.allowed_hosts):
        yield "ALLOWED_HOSTS names no host, so that every request is refused: write the names under which clients call this service."
    if "*" in settings.items(settings.allowed_hosts):
        yield "ALLOWED_HOSTS accepts any Host header: write the names under which clients call this service."
    for origin in settings.items(settings.allowed_origins):
        if not _is_safe_origin(origin):
            yield f"ALLOWED_ORIGINS contains {origin!r}: write origins such as https://app.example.com."


def _is_safe_origin(origin: str) -> bool:
    url = split(origin)
    if url is None or url.scheme != "https" or is_local(url.hostname):
        return False
    return "*" not in url.netloc and origin == f"https://{url.netloc}"


def _mails(settings: Settings) -> Iterator[str]:
    url = split(settings.app_public_url)
    if url is None or url.scheme != "https" or is_local(url.hostname):
        yield "APP_PUBLIC_URL, to which links in mails lead, is not a public https:// address: write your site's."
    by_resend = settings.resend_default_from if settings.resend_email_enabled else None
    if is_local(parseaddr(by_resend or settings.mail_from)[1].rpartition("@")[2]):
        name = "RESEND_DEFAULT_FROM" if by_resend else "MAIL_FROM"
        yield f"{name} is not an address of yours: write Name <no-reply@your-domain>."
    for secret in settings.items(_text(settings.resend_webhook_secret)):
        if not WEBHOOK_SECRET.fullmatch(secret):
            yield "RESEND_WEBHOOK_SECRET is not a signing secret of Resend's: write what begins with whsec_."


ALWAYS: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _signature_verifier,
    _developer_signature,
    _proxy_networks,
    _browser_logs,
    _trace_library,
    _slack,
)
IN_PRODUCTION = (
    _debug,
    _fixtures,
    _keys,
    _shared_keys,
    _storage_password,
    _hosts_and_origins,
    _mails,
    connection_problems,
)
