"""Writing to the stream of a run that has several jobs at once: a workflow, whose steps run side by side.

No writer can know the next number, so Redis gives it, in one script that also refuses writers which have lost their job,
writes a repeated batch once, and writes nothing after the terminal event. Why: docs/decisions/0015-shared-numbers.md
"""

from typing import Any, NamedTuple
from uuid import UUID

from models.jobs.ledger import Job, LeaseLost
from models.platform.json import encode
from models.runs.progress import EPOCH_SIZE, LIVE_SECONDS, Batch, first_sequence, stream_key, writer, writers_key

FENCED, ENDED = -1, 0

# KEYS: stream, hash of writers. ARGV: job id, stamp of this batch, size of an epoch, floor of the numbers, seconds to live,
# then for each event its kind, its JSON without a number, and a name if only the first event of that name is written.
# Returns the number of the newest event; -1 for a writer whose job was claimed again; 0 if the run has ended.
APPEND = """
local stamp, size = tonumber(ARGV[2]), tonumber(ARGV[3])
local known = tonumber(redis.call('hget', KEYS[2], ARGV[1]) or '0')
if math.floor((known - 1) / size) > math.floor((stamp - 1) / size) then return -1 end
local last, newest = tonumber(ARGV[4]), redis.call('xrevrange', KEYS[1], '+', '-', 'COUNT', 1)[1]
local number = newest and tonumber(string.match(newest[1], '^%d+')) or 0
for i = 1, newest and #newest[2] or 0, 2 do
  if newest[2][i] == 't' then
    if number > last then return 0 end
    redis.call('del', KEYS[1])  -- of an earlier life of the run: whoever sent it was late
  end
end
last = math.max(last, number)
if known >= stamp then return last end
redis.call('hset', KEYS[2], ARGV[1], ARGV[2])
for i = 6, #ARGV, 3 do
  if ARGV[i + 2] == '' or redis.call('hsetnx', KEYS[2], ARGV[i + 2], 1) == 1 then
    last = last + 1
    local text = string.format('%.0f', last)
    local event = '{"sequence_number":' .. text .. ',' .. string.sub(ARGV[i + 1], 2)
    redis.call('xadd', KEYS[1], text .. '-0', 'k', ARGV[i], 'e', event)
  end
end
redis.call('expire', KEYS[1], ARGV[5])
redis.call('expire', KEYS[2], ARGV[5])
return last
"""


class Pending(NamedTuple):
    """An event before it has its number. `once`: of several events with this name only the first is written."""

    event: dict[str, Any]
    once: str = ""

    def parts(self) -> tuple[str, bytes, str]:
        event = {name: value for name, value in self.event.items() if name != "sequence_number"}
        return self.event["kind"], encode(event), self.once


class SharedWriter:
    """Writes the events of one claim of one of a run's jobs. `floor`: all numbers are greater than it."""

    def __init__(self, run_id: UUID, job: Job, floor: int) -> None:
        self.run_id, self.job, self.last_number = run_id, job, floor
        self.stamp = first_sequence(job.epoch)
        self.batch: Batch | None = None

    def append(self, events: list[Pending]) -> None:
        """Start to write events. Waits for the batch before, so at most one is under way. LeaseLost."""
        self.wait()
        parts = [part for event in events for part in event.parts()]
        head = (str(self.job.id), self.stamp, EPOCH_SIZE, self.last_number, LIVE_SECONDS)
        command = ("EVAL", APPEND, 2, stream_key(self.run_id), writers_key(self.run_id), *head, *parts)
        self.stamp += 1
        self.batch = writer.send([command])

    def wait(self) -> None:
        """Wait until everything is written. LeaseLost if the job was claimed again. Nothing is written to an ended run."""
        if self.batch is None:
            return
        batch, self.batch = self.batch, None
        [answer] = batch.wait()
        if isinstance(answer, Exception):
            raise answer
        if answer == FENCED:
            raise LeaseLost(str(self.job.id))
        if answer != ENDED:
            self.last_number = answer
