"""The probes of all services at once: results, incidents and those who are told; whatever hangs, fails or is killed."""

import threading
import time

import pytest

from models.jobs.ledger import Job
from models.platform.database import database, transaction
from models.status import history
from models.status.incidents import Incident
from models.status.services import services
from tests.support.jobs import do
from tests.support.probes import found, services_file
from workers import metrics
from workers.jobs import STATUS_FAN_OUT, STATUS_PROBE, STATUS_ROLL_UP, enqueue
from workers.status import probes, probing
from workers.status.probes.finding import Failed, Finding, NotConfigured

pytestmark = pytest.mark.usefixtures("clean")
ACTORS = {STATUS_PROBE.name: probing.probe_services, STATUS_ROLL_UP.name: probing.roll_up_history}


@pytest.fixture
def answers(configure, tmp_path, monkeypatch):
    """{service: what its probe does}, for the services api, chat and slow. `None` has no probe."""
    kinds = {"api": '{ kind = "postgres" }', "chat": '{ kind = "redis" }', "slow": '{ kind = "storage" }', "none": None}
    configure(
        status_services_path=services_file(tmp_path / "services.toml", **kinds),
        status_probe_failures=2,
        status_probe_recoveries=1,
        status_probe_timeout_seconds=5,
    )
    found_by_kind = {"postgres": Finding, "redis": Finding, "storage": Finding}
    for kind in found_by_kind:
        monkeypatch.setitem(probes.KINDS, kind, lambda spec, seconds: found_by_kind[spec["kind"]]())
    names = {"api": "postgres", "chat": "redis", "slow": "storage"}
    yield lambda **what: found_by_kind.update({names[key]: does for key, does in what.items()})
    for thread in list(probing._busy.values()):
        thread.join(5)
    probing._busy.clear()


def failing():
    raise Failed("it is away")


def run():
    with transaction():
        enqueue(STATUS_PROBE)
    return do(ACTORS)


def next_minute():
    """The results so far are of one minute earlier each."""
    for step in ("1000 days", "-1000 days -1 minute"):
        database.execute_sql("update status_check set minute = minute + %s::interval", (step,))


def results():
    rows = database.execute_sql("select service, result from status_check order by minute, service").fetchall()
    return dict(rows)


def fan_outs():
    return [job.args["update_id"] for job in Job.select().where(Job.name == STATUS_FAN_OUT.name)]


def test_each_service_has_a_result(answers):
    answers(chat=failing, slow=lambda: Finding(is_slow=True, reason="late"))
    before = metrics.STATUS_PROBES.labels("chat", "failed")._value.get()
    run()
    assert results() == {"api": "good", "chat": "failed", "slow": "slow"}
    assert history.latest(["chat"])["chat"].reason == "it is away"
    assert metrics.STATUS_PROBES.labels("chat", "failed")._value.get() == before + 1
    assert metrics.SERVICE_UP.labels("api")._value.get() == 1 and metrics.SERVICE_UP.labels("chat")._value.get() == 0
    assert history.days(["chat"], 1)["chat"][0].seconds_down == 60, "the sums are up to date"


def test_to_run_twice_in_a_minute_probes_once(answers):
    asked = []
    answers(api=lambda: asked.append(1) or Finding())
    run()
    database.execute_sql("update status_check set minute = date_trunc('minute', now())")  # should the minute be over
    run()
    assert len(asked) == 1


def test_what_is_not_configured_is_unknown_and_any_other_error_a_failure(answers):
    def missing():
        raise NotConfigured

    def broken():
        raise KeyError("surprise")

    answers(api=missing, chat=broken)
    run()
    assert results() == {"chat": "failed", "slow": "good"}


def test_an_incident_is_opened_and_resolved_and_subscribers_are_told_of_both(answers):
    answers(chat=failing)
    run()
    assert Incident.select().count() == 0 and fan_outs() == []
    next_minute()
    run()
    incident = Incident.get()
    assert (incident.probe, incident.ended_at, len(fan_outs())) == ("chat", None, 1)
    answers(chat=Finding)
    next_minute()
    run()
    assert Incident.get().ended_at is not None and len(set(fan_outs())) == 2


def test_a_draft_is_told_to_nobody(answers, configure):
    configure(status_incident_drafts=True)
    answers(chat=failing)
    found("chat", "failed", "failed")
    next_minute()
    run()
    assert Incident.get().published_at is None and fan_outs() == []


def test_one_that_hangs_delays_no_other_and_is_not_probed_twice_at_once(answers, configure):
    configure(status_probe_timeout_seconds=0.2)
    end, asked = threading.Event(), []

    def hang():
        asked.append(1)
        end.wait(20)
        return Finding()

    answers(slow=hang)
    order = []
    for outcome in probing.ask([services()[key] for key in ("slow", "api", "chat")], 0.2):
        order.append((outcome.service.key, outcome.result))
    assert sorted(order[:2]) == [("api", "good"), ("chat", "good")] and order[2] == ("slow", "failed")
    run()
    assert results() == {"api": "good", "chat": "good", "slow": "failed"} and len(asked) == 1
    end.set()
    for thread in probing._busy.values():
        thread.join(10)
    next_minute()
    run()
    assert len(asked) == 2 and history.latest(["slow"])["slow"].state == "operational"


def test_the_late_result_of_a_probe_that_hung_does_not_count(answers):
    end = threading.Event()
    answers(slow=lambda: end.wait(20) and Finding())
    [outcome] = probing.ask([services()["slow"]], 0.1)
    end.set()
    assert outcome.result == "failed" and "no result within" in outcome.reason


def test_a_worker_that_is_killed_leaves_the_minute_unknown(answers):
    class Killed(BaseException):
        pass

    def killed(claim, outcome):
        raise Killed

    with transaction():
        enqueue(STATUS_PROBE)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(probing, "settle", killed)
        do(ACTORS)
    assert set(results().values()) == {None}
    Job.update(state="queued", owner=None).execute()
    do(ACTORS)
    assert set(results().values()) == {None}, "it may still be at work"
    database.execute_sql("update status_check set claimed_at = claimed_at - interval '1 minute'")
    run()
    assert "good" in results().values(), "in the same minute or the next one"


def test_two_workers_at_once_open_one_incident(answers):
    found("chat", "failed")
    next_minute()
    answers(chat=lambda: time.sleep(0.1) or failing())
    with transaction():
        jobs = [enqueue(STATUS_PROBE) for _ in range(4)]
    threads = [threading.Thread(target=_execute, args=(job.id,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Incident.select().count() == 1 and len(fan_outs()) == 1


def _execute(job_id):
    from workers.runtime import execute

    execute(STATUS_PROBE, probing.probe_services, str(job_id))


def test_ten_jobs_that_waited_for_a_worker_probe_once(answers):
    asked = []
    answers(api=lambda: asked.append(1) or Finding())
    with transaction():
        for _ in range(10):
            enqueue(STATUS_PROBE)
    assert do(ACTORS) == 10
    assert len(asked) <= 2, "once a minute"


def test_a_verdict_that_fails_loses_no_result_and_comes_with_the_next_minute(answers):
    answers(chat=failing)
    found("chat", "failed")
    next_minute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "judge", lambda service: 1 / 0 if service.key == "chat" else None)
        run()
    assert results() == {"api": "good", "chat": "failed", "slow": "good"}
    assert Job.get(Job.name == STATUS_PROBE.name).state == "dead", "operators see it"
    next_minute()
    run()
    assert Incident.select().count() == 1 == len(fan_outs())


def test_the_roll_up_job():
    found("api", "good")
    with transaction():
        enqueue(STATUS_ROLL_UP)
    do(ACTORS)
    assert history.uptime("api") == 100.0
