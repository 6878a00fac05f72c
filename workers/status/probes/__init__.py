"""One function per kind of probe: it returns what it has found of a service, or raises why that does not work."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from models.status.services import Service
from workers.status.probes import outside, parts
from workers.status.probes.finding import Finding

__all__ = ["KINDS", "Finding", "probe"]
Probe = Callable[[Mapping[str, Any], float], Finding]

# The kinds that the services file knows (models/status/services.py).
KINDS: dict[str, Probe] = {
    "http": outside.http,
    "model": outside.model,
    "postgres": parts.postgres,
    "queue": parts.queue,
    "redis": parts.redis,
    "storage": parts.storage,
    "stripe": outside.stripe,
}


def probe(service: Service, seconds: float) -> Finding:
    """Probe a service that has a probe. Its connections end after `seconds`, but a name that is not resolved may take longer.

    NotConfigured; any other exception: the service does not work.
    """
    spec, begun = service.probe or {}, time.monotonic()
    found = KINDS[spec["kind"]](spec, seconds)
    took, most = time.monotonic() - begun, spec.get("slow_seconds")
    if most is not None and took > most and not found.is_slow:
        return Finding(is_slow=True, reason=f"It took {took:.2f} s.")
    return found
