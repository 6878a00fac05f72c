"""How a service is said to be, and how everything is."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from models.status import headline
from models.status.history import Check
from models.status.services import Service
from models.status.views import ServiceView

TIME = now()


def service(probe):
    return Service(key="api", name="API", description="d", owner="o", group=None, probe=probe)


def view(name, status):
    return ServiceView(name, name, "d", "o", None, status, None, None, None, ())


@pytest.mark.parametrize(
    ("effect", "found", "minutes", "status"),
    [
        (None, "operational", 1, "operational"),
        (None, "degraded", 1, "degraded"),
        (None, "incident", 1, "operational"),  # it may be the only one: the probe opens an incident after some
        (None, "operational", 6, "unknown"),
        (None, None, 0, "unknown"),
        ("incident", "operational", 1, "incident"),
        ("maintenance", None, 0, "maintenance"),
    ],
)
def test_the_status_of_a_service(effect, found, minutes, status):
    check = Check("api", TIME - timedelta(minutes=minutes), found, 0.1, None) if found else None
    assert headline.status(service({"kind": "redis"}), effect, check, TIME) == status


def test_a_service_that_nobody_probes_works_unless_somebody_says_otherwise():
    assert headline.status(service(None), None, None, TIME) == "operational"
    assert headline.status(service(None), "degraded", None, TIME) == "degraded"


@pytest.mark.parametrize(
    ("statuses", "overall", "state", "description"),
    [
        (["operational", "operational"], "operational", "All systems operational", "works as it should"),
        (["operational", "unknown"], "operational", "All checked systems operational", "Not checked lately: B."),
        (["unknown", "unknown"], "unknown", "Not checked at present", "Not checked lately: A and B."),
        (
            ["maintenance", "operational"],
            "maintenance",
            "Maintenance in progress",
            "Planned work is going on. Affected: A.",
        ),
        (
            ["maintenance", "degraded"],
            "degraded",
            "Degraded service",
            "Not everything works as it should. Affected: B.",
        ),
        (["incident", "degraded"], "incident", "Service disruption", "Something does not work. Affected: A."),
        (["incident"] * 3, "incident", "Service disruption", "Something does not work. Affected: A, B and C."),
    ],
)
def test_the_headline_is_that_of_the_worst_service(statuses, overall, state, description):
    found = headline.words([view(name, status) for name, status in zip("ABC", statuses, strict=False)], [])
    assert found[:2] == (overall, state)
    assert description in found[2]
