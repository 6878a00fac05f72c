"""One indexing of a file: what begins it, the batches that are written, and its end, each in one transaction.

The run says whether it is still wanted, the generation which chunks are its own, and the number of chunks that are written
where to go on after a kill. What it has used is added to the run together with the chunks that it was used for.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from models.jobs.ledger import DEAD, Job
from models.platform import locks
from models.platform.clock import now
from models.platform.database import Json, database, transaction
from models.platform.settings import settings
from models.runs import events
from models.runs.run import ACTIVE, CANCELLED, FAILED, INDEXING, QUEUED, RUNNING, SUCCEEDED, Run
from models.runs.usage import EMBEDDING_TOKENS
from models.vector_stores import chunks, editions
from models.vector_stores.chunks import Chunk
from models.vector_stores.editions import FileGone
from models.vector_stores.files import COMPLETED, IN_PROGRESS, VectorStoreFile
from models.vector_stores.stores import VectorStore

CHUNK_TOKENS, OVERLAP_TOKENS = 800, 400  # of the strategy `auto`
GONE = "The file was detached, or its vector store deleted."
USED = """
update run set usage = coalesce(usage, '{}') || jsonb_build_object(%(name)s::text,
    coalesce((usage ->> %(name)s::text)::bigint, 0) + %(number)s::bigint)
where id = %(run_id)s"""
# Files of equal content in the same store, cut in the same way: those that can be searched, and those that are being indexed.
EQUAL = """
select f.id, f.edition_id is not null from vector_store_file f left join run on run.id = f.run_id
where f.vector_store_id = %(store_id)s and f.sha256 = %(sha256)s and f.id <> %(id)s and f.deleted_at is null
and f.chunking_strategy is not distinct from %(strategy)s::jsonb
and (f.edition_id is not null and f.status = 'completed' or f.begun_run_id = f.run_id and run.state in ('queued', 'running'))
order by f.edition_id is null, f.id limit 1"""


class Work(NamedTuple):
    """What is to be done. `copied`: a file whose chunks are taken. `is_anew`: the file can be searched already."""

    run: Run
    file: VectorStoreFile
    store: VectorStore
    generation: int
    copied: VectorStoreFile | None
    is_anew: bool


class OtherIsIndexed(Exception):
    """A file of equal content is being indexed in the same store at the moment."""


class RunOver(Exception):
    """The run was deleted, or has ended: nobody wants the indexing any more."""


def begin(job: Job) -> Work:
    """Begin an indexing, or go on with it after a kill. RunOver, FileGone, OtherIsIndexed."""
    with transaction():
        run = Run.lock(job.run_id) if job.run_id else None
        if run is None or run.state not in ACTIVE or run.kind != INDEXING:
            raise RunOver()
        row_id, store_id = UUID(run.request["file_row_id"]), UUID(run.request["vector_store_id"])
        locks.lock("vector_content", store_id)
        is_open = (VectorStore.id == store_id) & VectorStore.embedding_model.is_null()
        VectorStore.update(embedding_model=settings.embedding_model).where(is_open).execute()
        store = VectorStore.get_or_none((VectorStore.id == store_id) & VectorStore.deleted_at.is_null())
        row = VectorStoreFile.lock(row_id)
        if store is None or row is None or row.deleted_at is not None or row.run_id != run.id:
            raise FileGone()
        is_anew, copied = row.edition_id is not None, None
        if not is_anew:
            copied = _equal(row)
        if row.begun_run_id != run.id:
            row.generation = max(row.generation + 1, editions.next_generation(row.id))
        row.begun_run_id, row.updated_at = run.id, now()
        if not is_anew:
            row.status, row.last_error, row.error_code = IN_PROGRESS, None, None
        row.save()
        Run.update(state=RUNNING, started_at=run.started_at or now()).where(
            (Run.id == run.id) & Run.state.in_((QUEUED, RUNNING))
        ).execute()
        return Work(run, row, store, row.generation, copied, is_anew)


def _equal(row: VectorStoreFile) -> VectorStoreFile | None:
    """A file with the same content whose chunks can be taken. OtherIsIndexed."""
    if row.sha256 is None:
        return None
    strategy = None if row.chunking_strategy is None else Json(row.chunking_strategy)
    values = {"store_id": row.vector_store_id, "sha256": row.sha256, "id": row.id, "strategy": strategy}
    found = database.execute_sql(EQUAL, values).fetchone()
    if found is None:
        return None
    other_id, is_searchable = found
    if not is_searchable:
        raise OtherIsIndexed(str(other_id))
    return VectorStoreFile.get_by_id(other_id)


def sizes(row: VectorStoreFile) -> tuple[int, int]:
    """The size of a chunk and how much of it repeats the one before, in tokens, as the file's chunking strategy says."""
    static = (row.chunking_strategy or {}).get("static")
    if not static:
        return CHUNK_TOKENS, OVERLAP_TOKENS
    size = int(static["max_chunk_size_tokens"])
    return size, min(int(static["chunk_overlap_tokens"]), size // 2)


def staged(work: Work) -> int:
    """How many chunks are written."""
    return editions.staged(work.file.id, work.generation)


def save(work: Work, first: int, batch: Sequence[Chunk], tokens: int) -> None:
    """Write a batch of chunks, and what it has used. FileGone, NotNext, DimensionsDiffer, InvalidVector."""
    with transaction():
        chunks.stage(work.file, work.generation, first, list(batch))
        database.execute_prepared(USED, {"name": EMBEDDING_TOKENS, "number": tokens, "run_id": work.run.id})


def copy(work: Work) -> None:
    """Take the chunks of the file with equal content. FileGone, NotStaged."""
    if work.copied is not None:
        chunks.copy_from(work.copied, work.file, work.generation)


def finish(job: Job, work: Work, totals: dict[str, Any], sequence: int) -> Run:
    """Let searches see the chunks, and end the job and its run, in one transaction. FileGone, NotStaged, LeaseLost.

    `totals`: what the terminal event says, numbered `sequence`.
    """
    with transaction():
        job.finish()
        run = Run.lock(work.run.id)
        if run is None:
            raise RunOver()
        if VectorStore.hold(work.store.id) is None:
            raise FileGone()
        number = editions.publish(work.file, work.generation)
        result = {**totals, "file_id": work.file.file_id, "chunks": number, **(run.usage or {})}
        VectorStoreFile.update(
            status=COMPLETED, last_error=None, error_code=None, usage_bytes=work.file.size_bytes or 0, updated_at=now()
        ).where(VectorStoreFile.id == work.file.id).execute()
        VectorStore.recount(work.store.id)
        terminal = events.succeeded(run.conversation_key, run.agent, None, None, payload=result)
        run.finish(SUCCEEDED, terminal, sequence, usage=run.usage, result=result)
    return run


def fail(job: Job, work: Work, code: str, message: str, sequence: int) -> Run | None:
    """End the job and its run: the file cannot be indexed, or not now. One that could be searched still can. LeaseLost."""
    with transaction():
        job.finish(DEAD, f"{code}: {message}")
        run = Run.lock(work.run.id)
        if run is None:
            return None
        terminal = events.failed(run.conversation_key, run.agent, code, message)
        ended = run.finish(FAILED, terminal, sequence, error_code=code, error_message=message, usage=run.usage)
    return run if ended else None


def give_up(job: Job) -> Run | None:
    """End the job: its file or its store is gone. The run, if it has not ended, is cancelled. LeaseLost."""
    with transaction():
        job.finish()
        return Run.close(job.run_id, CANCELLED, "file_gone", GONE) if job.run_id else None
