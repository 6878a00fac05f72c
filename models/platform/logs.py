"""Logging: one JSON object per line on standard output, or text for people with LOG_FORMAT=console."""

import logging
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import Processor

from models.platform import tracing
from models.platform.redaction import REDACTED, known_secrets, without_secrets
from models.platform.settings import settings

Event = MutableMapping[str, Any]
SECRET_WORDS = (
    "password", "token", "secret", "authorization", "api_key", "cookie", "credential", "private_key", "signature",
)  # fmt: skip


def configure(process: str) -> None:
    """Set up structlog and the standard library's logging. `process`: edge, worker or scheduler."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _redact,
    ]
    console = settings.log_format == "console"
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()) if console else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _brief if console else _origin(process),
            _without_secrets(renderer),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "stripe", "urllib3", "apscheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _origin(process: str) -> Processor:
    """Adds which service and process a line comes from."""

    def add(logger: Any, name: str, event_dict: Event) -> Event:
        return {
            "ts": event_dict.pop("ts", None),
            "level": event_dict.pop("level", None),
            "service": settings.app_name,
            "environment": settings.environment,
            "process": process,
            **event_dict,
        }

    return add


def _brief(logger: Any, name: str, event_dict: Event) -> Event:
    """For a terminal: leaves out what is the same on every line or only useful to machines."""
    for key in ("ts", "logger", "correlation_id", "user_id", "tenant_id", "trace_id", "span_id"):
        event_dict.pop(key, None)
    return event_dict


def _trace(logger: Any, name: str, event_dict: Event) -> Event:
    event_dict.update(tracing.ids())
    return event_dict


@lru_cache(1024)
def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in SECRET_WORDS)


def _redact(logger: Any, name: str, event_dict: Event) -> Event:
    for key, value in event_dict.items():
        if isinstance(value, str):
            event_dict[key] = REDACTED if _is_secret(key) else value
        elif isinstance(value, dict | list):
            event_dict[key] = _redacted(value)
    return event_dict


def _redacted(value: Any) -> Any:
    """A copy without the texts that have the names of secrets, however deep they are."""
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: REDACTED if isinstance(item, str) and _is_secret(str(key)) else _redacted(item)
        for key, item in value.items()
    }


def _without_secrets(renderer: Processor) -> Processor:
    secrets = known_secrets()

    def render(logger: Any, name: str, event_dict: Event) -> str:
        return without_secrets(str(renderer(logger, name, event_dict)), secrets)

    return render
