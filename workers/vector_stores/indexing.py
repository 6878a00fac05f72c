"""Indexing a file: download, read in a child, embed in batches, write, publish. A kill costs one batch at most."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO
from uuid import UUID

from models.billing.quotas import INDEXING_RUN, Guard, GuardBusy
from models.billing.usage_limits import NoUsagePolicy, SubscriptionInactive, UsageLimitExceeded
from models.platform.clock import now
from models.platform.database import release
from models.platform.ids import uuid7
from models.runs import progress
from models.runs.run import Run
from models.storage.objects import ObjectNotFound, ObjectNotReady, StorageObject
from models.vector_stores import indexing, metrics
from models.vector_stores.chunks import Chunk, DimensionsDiffer, InvalidVector
from models.vector_stores.editions import FileGone, NotNext, NotStaged
from models.vector_stores.indexing import OtherIsIndexed, RunOver, Work
from models.vector_stores.removal import remove_superseded, remove_unpublished
from workers.gateways import embeddings
from workers.gateways.embeddings import EmbeddingsFailed
from workers.gateways.storage_client import BlobMissing, StorageUnavailable
from workers.jobs import FILE_INDEX
from workers.lease import Cancelled, TryLater
from workers.metrics import run_ended
from workers.runtime import Lease, actor
from workers.storage.reading import BlobDamaged, fetch
from workers.vector_stores.extraction.failures import Unreadable
from workers.vector_stores.extraction.process import Reading, reading
from workers.vector_stores.watching import Progress

log = logging.getLogger(__name__)
BATCH_CHUNKS, BATCH_CHARACTERS = 64, 200_000  # that are embedded at once
OTHER_SECONDS = (1.0, 30.0)  # at least and at most, until we look again whether the file of equal content is ready
RETRY_SECONDS = (2.0, 5.0, 15.0, 60.0, 180.0)  # after the n-th failure in a row
LONGEST_WISH = 600.0  # seconds that a server may have us wait
SPARE_SECONDS = 120.0  # of the job's time limit: then it goes on in another attempt


@actor(FILE_INDEX)
def index_file(lease: Lease) -> None:
    """Make the chunks of a file findable. Repeatable: it goes on with the first chunk that is not written."""
    began = time.perf_counter()
    try:
        work = indexing.begin(lease.job)
    except OtherIsIndexed as other:
        raise TryLater(f"Waits for {other}", _patience(lease), is_failure=False) from None
    except RunOver:
        return
    except FileGone:
        _give_up(lease)
        return
    finally:
        release()
    watcher = Progress(work.run, lease)
    try:
        _do(lease, work, watcher)
        metrics.OPERATIONS.done("index", "success", time.perf_counter() - began)
    except Unreadable as error:
        _fail(lease, work, watcher, error.code, error.message, began)
    except (DimensionsDiffer, UsageLimitExceeded, NoUsagePolicy, SubscriptionInactive) as error:
        _fail(lease, work, watcher, error.code, error.message, began)
    except GuardBusy as error:
        raise TryLater(error.message, 1.0, is_failure=False) from None
    except (EmbeddingsFailed, StorageUnavailable) as error:
        _retry_or_fail(lease, work, watcher, error, began)
    except (NotNext, NotStaged) as error:  # another worker had the job meanwhile, or the file of equal content is gone
        raise TryLater(repr(error), 1.0) from error
    except (FileGone, RunOver):
        remove_unpublished(work.file.id, work.generation)
        _give_up(lease)
    except Cancelled:
        remove_unpublished(work.file.id, work.generation)
        raise


def _patience(lease: Lease) -> float:
    """A quarter of the time that the job has waited already: thousands of files may wait for one."""
    shortest, longest = OTHER_SECONDS
    return min(longest, max(shortest, (now() - lease.job.created_at).total_seconds() / 4))


def _do(lease: Lease, work: Work, watcher: Progress) -> None:
    if work.copied is not None:
        indexing.copy(work)
        release()
    else:
        if not work.run.usage:
            _require_tokens(work.file.tenant_id)
        with _stored(work) as file, _read(lease, work, file) as read:
            watcher.begin(read.type, read.pages, work.file.size_bytes or 0)
            _embed_all(lease, work, read, watcher)
    _finish(lease, work, watcher)


def _require_tokens(tenant_id: UUID) -> None:
    """Others of the tenant's files may have used up since this one was attached what the tenant has. UsageLimitExceeded,
    NoUsagePolicy, SubscriptionInactive, GuardBusy."""
    guard = Guard(tenant_id, uuid7(), INDEXING_RUN)
    if guard.is_on:
        guard.begin(guard.reserve)
        guard.release()
        release()


@contextmanager
def _stored(work: Work) -> Iterator[IO[bytes]]:
    """The stored object's bytes."""
    try:
        stored = StorageObject.of_tenant(work.file.tenant_id, work.file.object_id) if work.file.object_id else None
        if stored is None:
            raise ObjectNotFound()
        release()
        file = fetch(stored)
    except (ObjectNotFound, ObjectNotReady, BlobMissing):
        raise Unreadable("object_gone") from None
    except BlobDamaged:
        raise Unreadable("object_damaged") from None
    finally:
        release()
    with file:
        yield file


@contextmanager
def _read(lease: Lease, work: Work, file: IO[bytes]) -> Iterator[Reading]:
    size, overlap = indexing.sizes(work.file)
    with reading(file, work.file.mime_type, size=size, overlap=overlap, checkpoint=lease.checkpoint) as read:
        yield read


def _embed_all(lease: Lease, work: Work, read: Reading, watcher: Progress) -> None:
    """Embed and write all chunks but those that an earlier attempt has written."""
    position = indexing.staged(work)
    release()
    parts = islice(read.chunks, position, None)
    while batch := _batch(parts):
        lease.checkpoint()
        if time.monotonic() > lease.deadline - SPARE_SECONDS:
            raise TryLater("goes on in another attempt", 0.0, is_failure=False)
        _write(lease, work, position, batch)
        position += len(batch)
        watcher.wrote(position, batch[-1][1], sum(len(text.encode()) for text, _ in batch))


def _batch(parts: Iterator[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    found, characters = [], 0
    for text, page in parts:
        found.append((text, page))
        characters += len(text)
        if len(found) >= BATCH_CHUNKS or characters >= BATCH_CHARACTERS:
            break
    return found


def _write(lease: Lease, work: Work, position: int, batch: list[tuple[str, int | None]]) -> None:
    texts = [text for text, _ in batch]
    with lease.interruptible():
        found = embeddings.embed(texts, model=work.store.embedding_model, dimensions=work.store.dimensions)
    characters = sum(map(len, texts))
    made = [
        # Only of all of them it is known how many tokens they have.
        Chunk(text, max(1, found.tokens * len(text) // characters), page, vector)
        for (text, page), vector in zip(batch, found.vectors, strict=True)
    ]
    try:
        indexing.save(work, position, made, found.tokens)
    except InvalidVector as error:
        raise embeddings.EmbeddingsInvalid(str(error)) from error
    finally:
        release()
    if lease.job.failures:
        lease.job.made_progress()
        release()


def _finish(lease: Lease, work: Work, watcher: Progress) -> None:
    lease.checkpoint()
    sequence = watcher.finish()
    run = indexing.finish(lease.job, work, watcher.totals(), sequence)
    release()
    run_ended(run)
    progress.send_terminal(run)
    if work.is_anew:
        remove_superseded(work.file.id)


def _retry_or_fail(
    lease: Lease, work: Work, watcher: Progress, error: EmbeddingsFailed | StorageUnavailable, began: float
) -> None:
    is_retryable, wish = True, None
    if isinstance(error, EmbeddingsFailed):
        is_retryable, wish = error.is_retryable, error.retry_after
    if not is_retryable or lease.is_last_attempt:
        _fail(lease, work, watcher, error.code, error.message, began)
        return
    pause = RETRY_SECONDS[min(lease.job.failures, len(RETRY_SECONDS) - 1)]
    raise TryLater(f"{error.code}: {error.message}", max(pause, min(wish or 0, LONGEST_WISH))) from error


def _fail(lease: Lease, work: Work, watcher: Progress, code: str, message: str, began: float) -> None:
    sequence = watcher.finish()
    run = indexing.fail(lease.job, work, code, message, sequence)
    release()
    log.info("file.not_indexed", extra={"run_id": str(work.run.id), "code": code})
    metrics.OPERATIONS.done("index", code, time.perf_counter() - began)
    _tell(run)
    remove_unpublished(work.file.id, work.generation)


def _give_up(lease: Lease) -> None:
    run = indexing.give_up(lease.job)
    release()
    _tell(run)


def _tell(run: Run | None) -> None:
    if run is not None:
        run_ended(run)
        progress.send_terminal(run)
