"""One trace per run: what a job continues, over all of its attempts and the jobs that follow it."""

from types import SimpleNamespace

import pytest

from models.jobs.ledger import Job
from models.platform import tracing
from models.platform.clock import now
from models.platform.database import transaction
from tests.support.traces import PARENT, TRACE, TRACEPARENT, id_of, parent_of, trace_of
from workers import jobs, runtime
from workers.jobs import JobKind, enqueue
from workers.lease import Shutdown

KIND = JobKind("noop", queue="housekeeping", retries=1, exhausted="run.fail")


@pytest.fixture
def add(clean, spans):
    def make(**args):
        with transaction():
            return enqueue(KIND, **args)

    return make


def attempt(job, function):
    Job.update(due_at=now()).where(Job.id == job.id).execute()
    runtime.execute(KIND, function, str(job.id))
    return Job.get_by_id(job.id)


def fail(lease):
    raise ValueError("private words")


def hand_back(lease):
    raise Shutdown()


def test_all_attempts_of_a_job_are_children_of_what_has_enqueued_it(add, spans):
    with tracing.span("request", "server", within=TRACEPARENT):
        job = add()
    assert job.traceparent == f"00-{TRACE}-{id_of(spans.one('request'))}-01" == Job.get_by_id(job.id).traceparent
    for function in (hand_back, fail, lambda lease: None):
        attempt(job, function)
    attempts = spans.named("job noop")
    assert {trace_of(span) for span in attempts} == {TRACE}
    assert {parent_of(span) for span in attempts} == {id_of(spans.one("request"))}
    assert [(span.attributes["longshore.job.epoch"], span.attributes["longshore.job.result"]) for span in attempts] == [
        (1, "released"),
        (2, "retried"),
        (3, "succeeded"),
    ]
    assert [span.attributes.get("error.type") for span in attempts] == [None, "retried", None]
    assert attempts[0].kind.name == "CONSUMER" and attempts[0].attributes["messaging.message.id"] == str(job.id)
    assert "private words" not in spans.text


def test_a_job_that_nothing_traced_has_led_to_begins_a_trace_for_all_of_its_attempts(add, spans):
    first, second = add(), add()
    for job in (first, second):
        attempt(job, fail)
        attempt(job, lambda lease: None)
    sends, attempts = spans.named("send housekeeping"), spans.named("job noop")
    assert [trace_of(span) for span in attempts] == [trace_of(sends[0])] * 2 + [trace_of(sends[1])] * 2
    assert trace_of(sends[0]) != trace_of(sends[1])


def test_what_a_job_enqueues_is_in_its_trace(add, spans):
    following = []
    job = add()
    attempt(job, lambda lease: following.append(add()))
    attempt(following[0], lambda lease: None)
    first, second = spans.named("job noop")
    assert (trace_of(second), parent_of(second)) == (trace_of(first), id_of(first))


def test_the_job_that_follows_a_dead_one_is_in_its_trace(add, spans):
    job = add()
    attempt(job, fail)
    attempt(job, fail)
    following = Job.get(Job.name == "run.fail")
    assert following.traceparent.split("-")[1] == trace_of(spans.named("job noop")[-1])
    with transaction():
        jobs.enqueue_exhausted(Job.get_by_id(job.id))  # as the scheduler does, where there is no current span
    assert {found.traceparent.split("-")[1] for found in Job.select().where(Job.name == "run.fail")} == {
        job.traceparent.split("-")[1]
    }


def test_a_retry_by_an_operator_stays_in_the_trace(add, spans):
    job = add()
    attempt(job, fail)
    attempt(job, fail)
    jobs.retry(job.id)
    attempt(job, lambda lease: None)
    assert len({trace_of(span) for span in spans.named("job noop")}) == 1


def test_a_job_of_a_process_without_traces_is_done_like_any_other(clean):
    with transaction():
        job = enqueue(KIND)
    assert job.traceparent is None
    assert attempt(job, lambda lease: None).state == "succeeded"


@pytest.mark.parametrize("stored", [None, "", "garbage", f"00-{TRACE}-{PARENT}-00"])
def test_whatever_a_row_holds_the_job_is_done(add, spans, stored):
    job = add()
    Job.update(traceparent=stored).where(Job.id == job.id).execute()
    assert attempt(job, lambda lease: None).state == "succeeded"


def test_a_worker_sends_its_last_spans_when_it_ends(spans, monkeypatch):
    from workers.main import Traces

    Traces().after_worker_shutdown(SimpleNamespace(), SimpleNamespace())
    assert not tracing.is_on()
