"""`python -m workers.status probes`."""

import pytest

from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.status import uptime
from models.status.incident_changes import add_update, open_incident
from tests.support.probes import found, services_file
from workers.jobs import STATUS_PROBE
from workers.status import probes
from workers.status.commands import main
from workers.status.probes.finding import Failed, Finding, NotConfigured

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(autouse=True)
def three(configure, tmp_path, monkeypatch):
    kinds = {
        "api": '{ kind = "postgres" }',
        "chat": '{ kind = "redis" }',
        "files": '{ kind = "storage" }',
        "none": None,
    }
    configure(status_services_path=services_file(tmp_path / "services.toml", **kinds))

    def away(spec, seconds):
        raise Failed("it is away")

    def missing(spec, seconds):
        raise NotConfigured

    monkeypatch.setitem(probes.KINDS, "postgres", lambda spec, seconds: Finding())
    monkeypatch.setitem(probes.KINDS, "redis", away)
    monkeypatch.setitem(probes.KINDS, "storage", missing)


def test_probes_now_and_leaves_no_trace(capsys):
    assert main(["probes", "run"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["api", "good"], ["chat", "failed"], ["files", "not"]]
    assert lines[1].endswith("it is away")
    assert database.execute_sql("select count(*) from status_check").fetchone() == (0,)
    assert main(["probes", "run", "api", "api"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("key", ["none", "elsewhere"])
def test_a_service_that_cannot_be_probed(capsys, key):
    assert main(["probes", "run", key]) == 2
    assert "api, chat, files" in capsys.readouterr().err


def test_workers_are_asked(capsys):
    assert main(["probes", "run", "--by-workers"]) == 0
    assert Job.get().name == STATUS_PROBE.name
    assert main(["probes", "run", "api", "--by-workers"]) == 2


def test_the_list(capsys):
    found("api", "good", "good", "failed", reason="it answered with 500")
    found("chat", "good")
    uptime.roll_up_all()
    with transaction():
        incident, _ = open_incident(
            "probe", title="Away", impact="All", services={"api": None}, text="So.", probe="api"
        )
    assert main(["probes", "list"]) == 0
    api, chat, files, none = capsys.readouterr().out.splitlines()
    assert api.split()[:2] == ["api", "66.667"] and "1 in a row" in api and "500" in api
    assert api.endswith(f"incident {incident.slug}")
    assert "100.000 %" in chat and files.endswith("never probed") and none.endswith("no probe")
    with transaction():
        add_update("user:1", incident.id, text="We know.")
    main(["probes", "list"])
    assert "taken over" in capsys.readouterr().out
