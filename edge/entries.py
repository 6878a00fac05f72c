"""Entries of a run's stream, as Redis and Postgres hold them."""

import logging
from typing import Any, TypeAlias

from models.platform.json import encode
from models.runs import progress
from models.runs.progress import Entry
from models.runs.run import WAITING, Run

log = logging.getLogger(__name__)
RawEntry: TypeAlias = tuple[bytes, dict[bytes, bytes]]


def sequence_of(entry_id: bytes) -> int:
    return int(entry_id[:-2])


def streams_of(answer: Any) -> Any:
    """XREAD's answer as (key, entries) pairs, whichever protocol version the connection speaks."""
    if isinstance(answer, dict):
        return [(key, raw[0] if raw and isinstance(raw[0], list) else raw) for key, raw in answer.items()]
    return answer or ()


def entries_of(key: bytes, raw: list[RawEntry]) -> list[Entry]:
    """The entries that are events. Others are dropped: one must not stop the streams of the whole process."""
    entries = []
    for item in raw:
        try:
            entries.append(progress.entry(item))
        except (KeyError, ValueError) as error:
            log.warning("relay.entry_broken", extra={"stream": key.decode(), "reason": f"{item[0]!r}: {error!r}"})
    return entries


def last_entry(run: Run) -> Entry:
    """The last event of a run that has ended or waits, from Postgres. ValueError if it goes on."""
    if run.terminal is not None and run.terminal_sequence is not None:
        return Entry(run.terminal_sequence, run.terminal["kind"].encode(), encode(run.terminal), True)
    if run.state == WAITING and run.waiting is not None:
        return Entry(run.waiting_sequence, run.waiting["kind"].encode(), encode(run.waiting), False, True)
    raise ValueError(f"The run {run.id} goes on.")
