"""What a tenant may begin: work reserves what it will use before it exists, and settles when it has ended.

    guard = Guard(tenant_id, run_id, RUN)
    run = guard.begin(change)      # change() calls guard.reserve(), and stores what it begins in the same transaction

Redis answers in one step (models/runs/holds.py). Two rules make that exact:

- Who begins something holds the tenant's lock with others, from before it reserves until its commit. Who loads the numbers
  from Postgres holds it alone. So at that moment nothing is reserved that Postgres does not know: what runs reserve follows
  from their state, what others reserve is in usage_hold.
- Where Redis is away, Postgres decides, under the same lock held alone, and raises the tenant's generation: what Redis
  knows of the tenant has another stamp from then on, and is loaded again.

A limit can be overshot only by what nobody can know before: the tokens of the runs under way.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from uuid import UUID

from prometheus_client import Counter

from models.billing import counters
from models.billing import standing as standings
from models.billing.plans import PlanFeature, of_plan
from models.billing.standing import Standing
from models.billing.usage_limits import UsageLimitExceeded
from models.platform.database import Json, database, in_transaction, transaction
from models.platform.errors import DomainError, Unavailable
from models.platform.locks import lock_for_next
from models.platform.settings import settings
from models.runs import holds, usage
from models.runs.holds import Reached, RedisAway
from models.runs.usage import EMBEDDING_TOKENS, INPUT_TOKENS, MESSAGES, OUTPUT_TOKENS

log = logging.getLogger(__name__)
T = TypeVar("T")
RUN = {
    MESSAGES: 1,
    INPUT_TOKENS: 0,
    OUTPUT_TOKENS: 0,
}  # what a question reserves: nobody knows how many tokens it will use
INDEXING_RUN = {EMBEDDING_TOKENS: 0}  # what a run that indexes a file reserves
LOADS = 3  # from Postgres for one call, before Postgres decides alone
NEXT_GENERATION = """
insert into usage_guard (tenant_id, generation) values (%(tenant_id)s, 1)
on conflict (tenant_id) do update set generation = usage_guard.generation + 1"""
# What is used, and what is held: in one statement, which sees one moment. A run that ends meanwhile is in exactly one of the two.
NUMBERS = """
select 'used', null::uuid, feature, sum(quantity) from ({pieces}) as pieces group by feature
union all
select 'level', null, feature, quantity from ({levels}) as levels (feature, quantity)
union all
select 'held', id, %(message)s::text, 1 from run
where tenant_id = %(tenant_id)s and state in ('queued', 'running', 'waiting') and kind in ('chat', 'workflow')
union all
select 'held', holder, feature, quantity from usage_hold where tenant_id = %(tenant_id)s"""
NUMBERS = NUMBERS.replace("{pieces}", counters.PIECES).replace("{levels}", counters.LEVELS)
HOLD = """
insert into usage_hold (tenant_id, holder, feature, quantity)
select %(tenant_id)s, %(holder)s, feature, quantity
from jsonb_to_recordset(%(listed)s) as listed(feature text, quantity bigint) on conflict do nothing"""
FREE = "delete from usage_hold where tenant_id = %(tenant_id)s and holder = %(holder)s"
HELD_SECONDS = 600  # longer than any work that is not a run
FREE_ABANDONED = """
with abandoned as (delete from usage_hold where created_at < now() - %(seconds)s * interval '1 second' returning tenant_id)
select distinct tenant_id from abandoned"""

DECISIONS = Counter("usage_guardrail_decisions_total", "Decisions about new work.", ["decision", "plan_code"])
HITS = Counter("usage_limit_hits_total", "Limits that new work has met.", ["plan_code", "limit_type", "feature_key"])
for _decision in ("allowed", "warned", "blocked"):
    DECISIONS.labels(_decision, "")  # exported as 0 before the first one
HITS.labels("", "hard_limit", "messages")


class Warned(NamedTuple):
    """A soft limit that is reached, for the caller to be told."""

    feature: str
    used: int
    soft: int
    hard: int | None
    seconds_left: int


class _MustLoad(Exception):
    """Redis does not know the tenant as it stands."""


class GuardBusy(Unavailable):
    code, message = "usage_unavailable", "What may be used cannot be told at the moment. Retry shortly."


class Guard:
    """Reserves `quantities` by feature of a tenant's limits for one holder, for as long as it is open.

    A quantity of 0 reserves nothing, but is refused once the limit is reached. `is_run`: the holder is a run.
    """

    def __init__(self, tenant_id: UUID | None, holder: UUID, quantities: Mapping[str, int], *, is_run: bool = True):
        self.tenant_id, self.holder, self.quantities, self.is_run = tenant_id, holder, dict(quantities), is_run
        self.is_on = settings.enable_usage_guardrails and tenant_id is not None
        self.is_alone = settings.usage_guardrail_cache_ttl_seconds <= 0
        self.is_reserved = False
        self.reached: list[Reached] = []
        self.standing: Standing | None = None

    def begin(self, change: Callable[[], T]) -> T:
        """Call `change` in a transaction, perhaps several times, each time in a new one. It calls `reserve`.

        UsageLimitExceeded, NoUsagePolicy, SubscriptionInactive; GuardBusy.
        """
        for attempt in range(LOADS + 2):
            try:
                with transaction():
                    return change()
            except _MustLoad:
                self.is_alone = attempt >= LOADS or not self._load()
            except RedisAway:
                self.is_alone = True
            except DomainError:
                self.release()
                raise
            except BaseException:  # perhaps it was committed
                self._forget()
                raise
        raise GuardBusy

    @in_transaction
    def reserve(self) -> None:
        """Take the quantities, or raise. Call it in `change`, before anything is stored."""
        if not self.is_on or self.tenant_id is None:
            return
        self.standing = _locked_standing(self.tenant_id, alone=self.is_alone)
        self.standing.require_live()
        if self.standing.plan_code is None:
            return
        if self.is_alone:
            self._decide(self.standing)
        else:
            self._ask_redis(self.standing)
        if not self.is_run:
            listed = [{"feature": feature, "quantity": number} for feature, number in self.quantities.items() if number]
            values = {"tenant_id": self.tenant_id, "holder": self.holder, "listed": Json(listed)}
            database.execute_prepared(HOLD, values)

    def release(self) -> None:
        """Nothing was begun: what was reserved is free again. Repeatable."""
        if self.is_reserved and self.tenant_id is not None:
            self.is_reserved = False
            holds.release(self.tenant_id, self.holder)

    @property
    def warned(self) -> list[Warned]:
        """The soft limits that are reached."""
        if self.standing is None or self.standing.plan_code is None or not self.reached:
            return []
        hard = {limit.key: limit.hard for limit in of_plan(self.standing.plan_code)}
        left = self.standing.seconds_left
        return [Warned(one.feature, one.used, one.limit, hard.get(one.feature), left) for one in self.reached]

    # ------------------------------------------------------------- how it is decided

    def _ask_redis(self, standing: Standing) -> None:
        answer = holds.reserve(
            standing.tenant_id,
            standing.stamp,
            self.holder,
            self.quantities,
            soft_refuses=settings.usage_guardrail_soft_limit_mode == "block",
        )
        if answer.is_held is None:
            raise _MustLoad
        self.is_reserved = answer.is_new  # what is under way keeps its own, whatever becomes of this
        self._conclude(standing, answer.reached, is_held=answer.is_held)

    def _decide(self, standing: Standing) -> None:
        """As the script of models/runs/holds.py does, from Postgres. The tenant's lock is held alone."""
        limits, used, held = _numbers(standing)
        reached = []
        for feature, quantity in self.quantities.items():
            limit = next((limit for limit in limits if limit.key == feature), None)
            if limit is None:
                continue
            in_use = used.get(feature, 0) + sum(of.get(feature, 0) for of in held.values())
            least = max(1, quantity)
            if limit.hard is not None and in_use + least > limit.hard:
                reached.append(Reached(feature, "hard_limit", limit.hard, in_use))
            elif limit.soft is not None and in_use + least > limit.soft:
                reached.append(Reached(feature, "soft_limit", limit.soft, in_use))
        refusing = [one for one in reached if _refuses(one)]
        self._conclude(standing, reached, is_held=self.holder in held or not refusing)
        database.execute_prepared(NEXT_GENERATION, {"tenant_id": standing.tenant_id})

    def _conclude(self, standing: Standing, reached: list[Reached], *, is_held: bool) -> None:
        plan = standing.plan_code or ""
        for one in reached:
            HITS.labels(plan, one.kind, one.feature).inc()
        DECISIONS.labels("blocked" if not is_held else "warned" if reached else "allowed", plan).inc()
        if not is_held:
            refusing = [one for one in reached if _refuses(one)]
            raise UsageLimitExceeded(standing.tenant_id, of_plan(plan), refusing, standing.window)
        self.reached = reached

    def _load(self) -> bool:
        return self.tenant_id is not None and _load(self.tenant_id)

    def _forget(self) -> None:
        if self.is_on and self.tenant_id is not None:
            holds.forget(self.tenant_id)


@in_transaction
def settle(tenant_id: UUID, holder: UUID, used: Mapping[str, int]) -> None:
    """Work that is not a run has ended: count what it has used, by feature, and free what it had reserved. Repeatable."""
    database.execute_prepared(FREE, {"tenant_id": tenant_id, "holder": holder})
    usage.record_source(tenant_id, f"work:{holder}", dict(used))
    database.after_commit(lambda: holds.settle(tenant_id, holder, dict(used)))


def free_abandoned() -> int:
    """Free what work that is not a run had reserved when its process or Postgres died. Returns of how many tenants."""
    with transaction():
        tenants = database.execute_prepared(FREE_ABANDONED, {"seconds": HELD_SECONDS}).fetchall()
    for (tenant_id,) in tenants:
        holds.forget(tenant_id)
    return len(tenants)


def _load(tenant_id: UUID) -> bool:
    """Give Redis the tenant's numbers, unless somebody has while we waited for the lock. False if Redis is away."""
    with transaction():
        found = _locked_standing(tenant_id, alone=True)
        try:
            if found.plan_code is None or holds.is_loaded(tenant_id, found.stamp):
                return True
            limits, used, held = _numbers(found)
            fields: dict[str, str | int] = {"stamp": found.stamp}
            for limit in limits:
                values = {"used": used.get(limit.key, 0), "hard": limit.hard, "soft": limit.soft}
                fields |= {f"{name}:{limit.key}": value for name, value in values.items() if value is not None}
            holds.load(tenant_id, fields, held, settings.usage_guardrail_cache_ttl_seconds)
        except RedisAway:
            return False
    return True


def _locked_standing(tenant_id: UUID, *, alone: bool) -> Standing:
    """The standing, with the tenant's lock: one round trip, and the standing is read when the lock is held."""
    lock_for_next("usage", tenant_id, is_shared=not alone)
    return standings.read(tenant_id)


def _numbers(standing: Standing) -> tuple[list[PlanFeature], dict[str, int], dict[UUID, dict[str, int]]]:
    """The limits of a tenant, what it has used by feature, and what is reserved by holder."""
    limits = of_plan(standing.plan_code or "")
    levels = [limit.key for limit in limits if not limit.is_metered]
    values = {**counters.bounds(standing.tenant_id, standing.window), "features": levels, "message": MESSAGES}
    used: dict[str, int] = {}
    held: dict[UUID, dict[str, int]] = {}
    for kind, holder, feature, quantity in database.execute_prepared(NUMBERS, values).fetchall():
        if kind == "held":
            held.setdefault(holder, {})[feature] = int(quantity)
        elif (kind == "level") == (feature in levels):
            used[feature] = int(quantity)
    return limits, used, held


def _refuses(one: Reached) -> bool:
    return one.kind == "hard_limit" or settings.usage_guardrail_soft_limit_mode == "block"
