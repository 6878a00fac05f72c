"""Logging: one JSON object per line on standard output, or text for people with LOG_FORMAT=console."""

import json
import logging
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import Processor

from models.platform.settings import settings

Event = MutableMapping[str, Any]
SECRET_WORDS = (
    "password", "token", "secret", "authorization", "api_key", "cookie", "credential", "private_key", "signature",
)  # fmt: skip
REDACTED = "[redacted]"
SHORTEST_SECRET = 6  # characters; shorter values would blank out ordinary words


def configure(process: str) -> None:
    """Set up structlog and the standard library's logging. `process`: edge, worker or scheduler."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
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
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "urllib3", "apscheduler"):
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
    for key in ("ts", "logger", "correlation_id", "user_id", "tenant_id"):
        event_dict.pop(key, None)
    return event_dict


@lru_cache(1024)
def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in SECRET_WORDS)


def _redact(logger: Any, name: str, event_dict: Event) -> Event:
    for key in event_dict:
        if _is_secret(key) and isinstance(event_dict[key], str):
            event_dict[key] = REDACTED
    return event_dict


def _without_secrets(renderer: Processor) -> Processor:
    """The renderer, with every secret of the settings blanked out in its line: a driver's message may quote one."""
    secrets = sorted(_written_secrets(), key=len, reverse=True)  # a URL before the password in it

    def render(logger: Any, name: str, event_dict: Event) -> str:
        line = str(renderer(logger, name, event_dict))
        for secret in secrets:
            if secret in line:
                line = line.replace(secret, REDACTED)
        return line

    return render


def _written_secrets() -> set[str]:
    """The secrets as they stand in a line: as they are, and escaped as in JSON."""
    values = {value for value in settings.secret_values() if len(value) >= SHORTEST_SECRET}
    return values | {json.dumps(value)[1:-1] for value in values}
