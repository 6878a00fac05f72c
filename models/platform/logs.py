"""One JSON object per line on standard output (LOG_FORMAT=console for people)."""

import logging
import sys

import structlog

from models.platform.settings import settings

SECRET_WORDS = ("password", "token", "secret", "authorization", "api_key", "cookie")


def configure(process: str) -> None:
    """Route structlog and the standard library's logging through one renderer."""
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _redact,
    ]
    console = settings.log_format == "console"
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()) if console else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _brief if console else _origin(process),
            renderer,
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


def _origin(process: str):
    def add(logger, name, event_dict):
        return {
            "ts": event_dict.pop("ts", None),
            "level": event_dict.pop("level", None),
            "service": settings.app_name,
            "environment": settings.environment,
            "process": process,
            **event_dict,
        }

    return add


def _brief(logger, name, event_dict):
    """For people at a terminal: what is the same on every line, or only of use to machines, is left out."""
    for key in ("ts", "logger", "correlation_id", "user_id", "tenant_id"):
        event_dict.pop(key, None)
    return event_dict


def _redact(logger, name, event_dict):
    for key in event_dict:
        if any(word in key.lower() for word in SECRET_WORDS) and isinstance(event_dict[key], str):
            event_dict[key] = "[redacted]"
    return event_dict
