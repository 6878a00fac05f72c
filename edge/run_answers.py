"""What all requests that start a run share: their limits, their key, and the errors of a run that has no result."""

import falcon

from edge import attachments
from edge.errors import Invalid
from edge.request import Request
from models.billing import quotas
from models.billing.quotas import Guard
from models.conversations.asking import Question, ask
from models.platform import limits
from models.platform.errors import Conflict, DomainError
from models.platform.ids import uuid7
from models.platform.principal import Principal
from models.platform.settings import settings
from models.runs.run import CANCELLED, FAILED, Run
from workers.jobs import JobKind, enqueue

HEADERS = ("Idempotency-Key",)
USAGE_WARNING = "X-Usage-Warning"
LONGEST_KEY = 255  # characters of an Idempotency-Key
# The status of an answer by the error code of its failed run.
STATUS = {
    "provider_rate_limited": 429,
    "provider_timeout": 504,
    "run_timeout": 504,
    "context_length_exceeded": 422,
    "model_not_found": 502,
    "provider_bad_request": 502,
    "provider_authentication": 502,
    "provider_failed": 502,
    "provider_incomplete": 502,
    "provider_unavailable": 503,
    "max_turns_exceeded": 422,
    "no_output": 502,
    "container_expired": 409,
    "container_missing": 409,
    "tools_unavailable": 502,
    "output_invalid": 502,
}


class RunFailed(DomainError):
    def __init__(self, run: Run):
        super().__init__(run.error_message, details={"run_id": str(run.id)}, headers={"X-Run-Id": str(run.id)})
        self.code = run.error_code or "internal_error"
        self.status = STATUS.get(self.code, 500)


class RunCancelled(Conflict):
    code, message = "run_cancelled", "The run was cancelled."


def idempotency_key(req: Request) -> str | None:
    """The Idempotency-Key header, None without one. Invalid (422) unless it is 1 to 255 printable ASCII characters."""
    key = req.get_header("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Invalid.at("header", "Idempotency-Key", msg="must have 1 to 255 printable ASCII characters")
    return key


def require_allowance(principal: Principal, *, streams: bool = False) -> None:
    """QuotaExceeded if the caller has started as many runs as one may in a minute."""
    if streams:
        quota, per_minute = "chat_stream_per_minute", settings.chat_stream_rate_limit_per_minute
    else:
        quota, per_minute = "chat_per_minute", settings.chat_rate_limit_per_minute
    limits.hit(quota, per_minute, 60, principal.tenant_id, principal.subject)


def begin(req: Request, resp: falcon.Response, question: Question, kind: JobKind) -> Run:
    """The run of this question, whose first job is of this kind. A repeated Idempotency-Key gives the earlier run.

    UsageLimitExceeded, NoUsagePolicy or SubscriptionInactive if the tenant may not start another one.
    """
    attachments.verify(req.context.principal, question.attachments)
    guard = Guard(req.context.principal.tenant_id, uuid7(), quotas.RUN)

    def change() -> tuple[Run, bool]:
        run, created = ask(req.context.principal, question, guard)
        if created:
            enqueue(kind, run_id=run.id, tenant_id=run.tenant_id)
        return run, created

    run, created = guard.begin(change)
    warn(resp, guard)
    resp.set_header("X-Run-Id", str(run.id))
    if not created:
        resp.set_header("Idempotent-Replayed", "true")
    return run


def warn(resp: falcon.Response, guard: Guard) -> None:
    """Tell the caller which soft limits are reached, as a list of structured fields (RFC 9651)."""
    if guard.warned:
        listed = (
            f"{one.feature};used={one.used};soft={one.soft}"
            + (f";hard={one.hard}" if one.hard is not None else "")
            + f";reset={one.seconds_left}"
            for one in guard.warned
        )
        resp.set_header(USAGE_WARNING, ", ".join(listed))


def require_success(run: Run) -> None:
    """RunFailed or RunCancelled unless the finished run has a result."""
    if run.state == CANCELLED:
        raise RunCancelled(details={"run_id": str(run.id)})
    if run.state == FAILED:
        raise RunFailed(run)
