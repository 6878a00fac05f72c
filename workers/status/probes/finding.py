"""What a probe has found."""

from dataclasses import dataclass


class Failed(Exception):
    """The service does not work. The text says why, for operators."""


class NotConfigured(Exception):
    """This installation does not have what is to be probed: nothing is known, and nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The service works. `is_slow`: but not as well as usual."""

    is_slow: bool = False
    reason: str | None = None
