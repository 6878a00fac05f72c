"""What those see who watch the run of an indexing: how far it is, a few times a second at most."""

import time
from typing import Any

from models.runs import events
from models.runs.run import Run
from workers.event_stream import EventStream
from workers.lease import Lease

PAUSE = 0.3  # seconds between two events


class Progress:
    """Sends events `lifecycle` with `event`: `progress`, and counts what the last event tells."""

    def __init__(self, run: Run, lease: Lease) -> None:
        self.run, self.stream = run, EventStream(run, lease)
        self.started, self.sent = time.monotonic(), 0.0
        self.told: dict[str, Any] = {"type": None, "pages": None, "page": None, "chunks": 0, "bytes": 0}
        self.read = 0

    def begin(self, kind: str, pages: int | None, size: int) -> None:
        """The file is being read. `size`: its bytes."""
        self.told |= {"type": kind, "pages": pages, "bytes": size}
        self._send()

    def wrote(self, chunks: int, page: int | None, size: int) -> None:
        """So many chunks are written in all, up to this page. `size`: bytes of text that were written now."""
        self.told |= {"chunks": chunks, "page": page}
        self.read += size
        if time.monotonic() - self.sent >= PAUSE:
            self._send()

    def totals(self) -> dict[str, Any]:
        """What the terminal event says, beside the numbers that the database knows."""
        return {"type": self.told["type"], "pages": self.told["pages"], "bytes": self.told["bytes"], **self._speed()}

    def finish(self) -> int:
        """Return when all is written: the number of the next event. LeaseLost."""
        self.stream.finish()
        return self.stream.next_sequence

    def _send(self) -> None:
        self.sent = time.monotonic()
        payload = {**self.told, **self._speed()}
        event = events.event(
            "lifecycle",
            self.run.conversation_key,
            event="progress",
            agent=self.run.agent,
            agent_used=self.run.agent,
            payload=payload,
        )
        self.stream.add(event)
        self.stream.flush()

    def _speed(self) -> dict[str, Any]:
        """`text_bytes_per_second`: of this attempt."""
        seconds = max(0.001, time.monotonic() - self.started)
        return {"seconds": round(seconds, 3), "text_bytes_per_second": round(self.read / seconds)}
