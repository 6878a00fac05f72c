"""Lanes: a tenant's part of a queue. At most its share of jobs is with the workers at once, the others wait their turn.

Redis knows the jobs that are with the workers. The ledger knows those that wait: queued, with `sent_at` null.

    lane:<queue>:<tenant>           set of job ids that were sent and have not ended
    lane-waiting:<queue>:<tenant>   exists if jobs wait: whoever ends a job sends the next one
    lanes                           set of "<queue>:<tenant>", to find the lanes again

If Redis loses this, or a process dies in between, `repair` and `take_turns` restore it within a second.
"""

import time
from collections import defaultdict
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from models.jobs.ledger import Job
from models.platform.database import database
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

SHARE_SECONDS = 30  # a changed share takes effect within this time
UNLIMITED = 500  # jobs that are sent at once from a lane whose limit was switched off
INDEX = "lanes"

# KEYS: lane, waiting flag, index. ARGV: name of the lane, its limit, job ids. Returns 1 or 0 for each id: sent now or not.
ENTER = """
local answers, refused = {}, false
for i = 3, #ARGV do
  if redis.call('sismember', KEYS[1], ARGV[i]) == 1 then
    answers[i - 2] = 1
  elseif redis.call('scard', KEYS[1]) < tonumber(ARGV[2]) then
    redis.call('sadd', KEYS[1], ARGV[i])
    answers[i - 2] = 1
  else
    answers[i - 2], refused = 0, true
  end
end
redis.call('sadd', KEYS[3], ARGV[1])
if refused then redis.call('set', KEYS[2], 1) end
return answers
"""
# KEYS: lane, waiting flag, index. ARGV: name of the lane, job ids. Returns 1 if jobs wait for a place.
LEAVE = """
for i = 2, #ARGV do redis.call('srem', KEYS[1], ARGV[i]) end
local waiting = redis.call('exists', KEYS[2])
if waiting == 0 and redis.call('scard', KEYS[1]) == 0 then redis.call('srem', KEYS[3], ARGV[1]) end
return waiting
"""
SHARE = """
select coalesce(tenant_share.jobs_at_once, plan.jobs_at_once) from tenant
left join tenant_share on tenant_share.tenant_id = tenant.id left join plan on plan.code = tenant.plan_code
where tenant.id = %(tenant_id)s"""
SET_SHARE = """
insert into tenant_share (tenant_id, jobs_at_once) select id, %(jobs_at_once)s from tenant where id = %(tenant_id)s
on conflict (tenant_id) do update set jobs_at_once = excluded.jobs_at_once"""
CLEAR_SHARE = "delete from tenant_share where tenant_id = %(tenant_id)s"
WAIT = "update job set sent_at = null where id = any(%(ids)s::uuid[]) and state = 'queued'"
# The oldest jobs of a lane that wait for a place.
TAKE_NEXT = """
with next as (
    select id from job
    where state = 'queued' and sent_at is null and queue = %(queue)s and tenant_id = %(tenant_id)s and due_at <= now()
    order by id limit %(limit)s for update skip locked
)
update job set sent_at = now() where id in (select id from next)
returning {columns}"""
# All lanes in which jobs wait. It steps from lane to lane in the index, so its cost does not grow with the jobs.
WAITING_LANES = """
with recursive lane as (
    (select queue, tenant_id from job where state = 'queued' and sent_at is null order by queue, tenant_id limit 1)
    union all
    select next.queue, next.tenant_id from lane, lateral (
        select queue, tenant_id from job
        where state = 'queued' and sent_at is null and (queue, tenant_id) > (lane.queue, lane.tenant_id)
        order by queue, tenant_id limit 1
    ) next
)
select queue, tenant_id from lane"""
SENT = """
select id from job where id = any(%(ids)s::uuid[]) and sent_at is not null and state in ('queued', 'running')"""


class Lane(NamedTuple):
    queue: str
    tenant_id: UUID

    @classmethod
    def named(cls, name: str) -> "Lane":
        queue, _, tenant_id = name.rpartition(":")
        return cls(queue, UUID(tenant_id))

    @property
    def name(self) -> str:
        return f"{self.queue}:{self.tenant_id}"

    @property
    def key(self) -> str:
        return f"lane:{self.name}"

    @property
    def flag(self) -> str:
        return f"lane-waiting:{self.name}"

    @property
    def limit(self) -> int:
        """How many jobs may be with the workers at once; 0: any number."""
        if settings.tenant_jobs_at_once <= 0:
            return 0
        return _share(self.tenant_id, int(time.time() / SHARE_SECONDS)) or settings.tenant_jobs_at_once

    def enter(self, job_ids: list[UUID]) -> list[bool]:
        """Put jobs into the lane. For each: whether it got a place, or had one already."""
        limit = self.limit
        if not limit:
            return [True] * len(job_ids)
        answers = _run(ENTER, self, limit, *job_ids)
        return [answer == 1 for answer in answers]

    def leave(self, job_ids: list[UUID]) -> bool:
        """Take jobs out of the lane. Returns whether other jobs wait for a place."""
        return bool(_run(LEAVE, self, *job_ids))

    def free(self) -> int:
        """Free places."""
        limit = self.limit
        return max(0, limit - int(fast_redis_client().scard(self.key))) if limit else UNLIMITED

    def take_next(self, limit: int) -> list[Job]:
        """The jobs that have waited longest, at most `limit`, marked as sent. The caller sends them."""
        jobs = Job.all(TAKE_NEXT, queue=self.queue, tenant_id=self.tenant_id, limit=limit) if limit else []
        return sorted(jobs, key=lambda job: job.id)  # ids are ordered by time


def lane_of(job: Job) -> Lane | None:
    """The lane of a job; None for one without a tenant, which is sent at once."""
    return Lane(job.queue, job.tenant_id) if job.tenant_id else None


def admit(jobs: list[Job]) -> list[Job]:
    """The jobs that may be sent to the workers now. The others are marked as waiting for a place. May raise RedisError."""
    admitted, lanes = [], defaultdict(list)
    for job in jobs:
        lane = lane_of(job)
        if lane:
            lanes[lane].append(job)
        else:
            admitted.append(job)
    waiting: list[UUID] = []
    for lane, members in lanes.items():
        answers = lane.enter([job.id for job in members])
        admitted += [job for job, has_place in zip(members, answers, strict=True) if has_place]
        waiting += [job.id for job, has_place in zip(members, answers, strict=True) if not has_place]
    if waiting:
        database.execute_prepared(WAIT, {"ids": waiting})
    return admitted


def leave(job: Job) -> list[Job]:
    """Give a job's place back. Returns the job that gets it, if one waits: the caller sends it. May raise RedisError."""
    lane = lane_of(job)
    if lane is None or not lane.leave([job.id]):
        return []
    jobs = lane.take_next(1)
    if not jobs:
        fast_redis_client().delete(lane.flag)
    return jobs


def take_turns() -> list[Job]:
    """For every lane in which jobs wait, as many as there are free places. The caller sends them."""
    lanes = [Lane(*row) for row in database.execute_prepared(WAITING_LANES, {}).fetchall()]
    return [job for lane in lanes for job in lane.take_next(lane.free())]


def repair() -> int:
    """Take the jobs that have ended out of their lanes: those of workers that died, and cancelled ones. Returns how many."""
    members = _all_members()
    ids = [job_id for job_ids in members.values() for job_id in job_ids]
    sent = {job_id for (job_id,) in database.execute_prepared(SENT, {"ids": ids}).fetchall()} if ids else set()
    gone = {lane: list(job_ids - sent) for lane, job_ids in members.items()}
    for lane, job_ids in gone.items():
        if job_ids or not members[lane]:
            lane.leave(job_ids)
    return sum(map(len, gone.values()))


def set_share(tenant_id: UUID, jobs_at_once: int) -> bool:
    """Give a tenant a limit of its own instead of its plan's or TENANT_JOBS_AT_ONCE. False if there is no such tenant."""
    values = {"tenant_id": tenant_id, "jobs_at_once": jobs_at_once}
    return bool(database.execute_prepared(SET_SHARE, values).rowcount)


def clear_share(tenant_id: UUID) -> bool:
    """Take a tenant's own limit away: its plan's counts again, or TENANT_JOBS_AT_ONCE. False if it had none."""
    return bool(database.execute_prepared(CLEAR_SHARE, {"tenant_id": tenant_id}).rowcount)


def _all_members() -> dict[Lane, set[UUID]]:
    """The jobs of every lane."""
    client = fast_redis_client()
    names: Any = client.smembers(INDEX)
    lanes = [Lane.named(name.decode()) for name in names]
    pipeline = client.pipeline(transaction=False)
    for lane in lanes:
        pipeline.smembers(lane.key)
    answers = pipeline.execute()
    return {lane: {UUID(member.decode()) for member in members} for lane, members in zip(lanes, answers, strict=True)}


@lru_cache(maxsize=10_000)
def _share(tenant_id: UUID, period: int) -> int | None:  # noqa: ARG001  (it limits how long an answer is kept)
    row = database.execute_prepared(SHARE, {"tenant_id": tenant_id}).fetchone()
    return row[0] if row else None


def _run(script: str, lane: Lane, *args: object) -> Any:
    return fast_redis_client().eval(script, 3, lane.key, lane.flag, INDEX, lane.name, *map(str, args))
