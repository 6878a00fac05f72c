"""Vector stores: making and deleting them, attaching and detaching files, and searching."""

from contextlib import suppress
from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.run_answers import USAGE_WARNING, warn
from edge.schemas.vector_stores import (
    FileQuery,
    ListQuery,
    VectorStoreCreateRequest,
    VectorStoreFileCreateRequest,
    VectorStoreFileListResponse,
    VectorStoreFileResponse,
    VectorStoreListResponse,
    VectorStoreResponse,
    VectorStoreSearchRequest,
    VectorStoreSearchResponse,
)
from edge.stored_objects import ready_object
from edge.waiting import wait_until
from models.billing.quotas import Guard
from models.platform import limits
from models.platform.authorization import VECTOR_STORE_MANAGE, VECTOR_STORE_READ
from models.platform.database import transaction
from models.platform.ids import uuid7
from models.platform.keyset import Listing
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage.objects import ObjectNotFound
from models.vector_stores import attaching, keeping, metrics
from models.vector_stores.attaching import Attached
from models.vector_stores.files import IN_PROGRESS, FileNotFound, VectorStoreFile
from models.vector_stores.stores import CREATING, OPENAI, VectorStore, VectorStoreNotFound
from workers.gateways import searching
from workers.jobs import (
    FILE_ATTACH,
    FILE_DETACH,
    FILE_INDEX,
    VECTOR_STORE_CREATE,
    VECTOR_STORE_REMOVE,
    enqueue,
)

RUN_HEADER = "X-Run-Id"
FILE_HEADERS = (RUN_HEADER, USAGE_WARNING)


class VectorStores:
    @endpoint("Create Vector Store", "vector-stores", action=VECTOR_STORE_MANAGE, status=201, tenant=True)
    def on_post(self, req: Request, resp: falcon.Response, body: VectorStoreCreateRequest) -> VectorStoreResponse:
        """A new, empty store. One at the provider may still be `creating` when this answers: it takes files already."""
        principal, wish = req.context.principal, keeping.Wish(**body.model_dump())
        with metrics.OPERATIONS.counted("create"):
            with transaction():
                store = keeping.create(principal, wish, req.context.client)
                if store.engine == OPENAI:
                    enqueue(VECTOR_STORE_CREATE, tenant_id=store.tenant_id, store_id=str(store.id))
            if store.status == CREATING:
                store = wait_until(
                    lambda: VectorStore.find(principal, store.id),
                    lambda row: row.status != CREATING,
                    settings.vector_poll_seconds,
                )
        return show(store)

    @endpoint("List Vector Stores", "vector-stores", action=VECTOR_STORE_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ListQuery) -> VectorStoreListResponse:
        """The tenant's stores, the newest first."""
        rows = VectorStore.visible_to(req.context.principal).where(VectorStore.deleted_at.is_null())
        page = Listing.of(rows, limit=query.limit, offset=query.offset, cursor=query.cursor)
        return VectorStoreListResponse(
            items=[show(row) for row in page.items], total=page.total, next_cursor=page.next_cursor
        )

    @endpoint("Get Vector Store", "vector-stores", action=VECTOR_STORE_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, vector_store_id: UUID) -> VectorStoreResponse:
        """A store, as it was when the provider last told us, if it is there."""
        return show(VectorStore.find(req.context.principal, vector_store_id))

    @endpoint("Delete Vector Store", "vector-stores", action=VECTOR_STORE_MANAGE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, vector_store_id: UUID) -> None:
        """Delete a store with its index. The files themselves stay. Its name can be used again at once."""
        with metrics.OPERATIONS.counted("delete"), transaction():
            store = keeping.delete(req.context.principal, vector_store_id, req.context.client)
            enqueue(VECTOR_STORE_REMOVE, tenant_id=store.tenant_id, store_id=str(store.id))


class VectorStoreFiles:
    @endpoint(
        "Attach File",
        "vector-stores",
        action=VECTOR_STORE_MANAGE,
        status=201,
        tenant=True,
        answer_headers=FILE_HEADERS,
    )
    def on_post(
        self, req: Request, resp: falcon.Response, vector_store_id: UUID, body: VectorStoreFileCreateRequest
    ) -> VectorStoreFileResponse:
        """Have a file indexed in this store. With `poll` it waits for that, for a while; what is not done by then is still
        `in_progress`, and goes on. `X-Run-Id` names the run, which can be followed."""
        principal = req.context.principal
        VectorStore.find(principal, vector_store_id)
        _verify_upload(principal, body.file_id)
        guard = attaching.guard_of(principal, uuid7())
        wish = body.model_dump(include={"attributes", "chunking_strategy"})

        def change() -> Attached:
            return _sent(attaching.attach(principal, vector_store_id, body.file_id, guard, **wish))

        with metrics.OPERATIONS.counted("attach"):
            attached = guard.begin(change)
        return _answer(req, resp, guard, attached, poll=body.poll)

    @endpoint("List Files", "vector-stores", action=VECTOR_STORE_READ, tenant=True)
    def on_get(
        self, req: Request, resp: falcon.Response, vector_store_id: UUID, query: FileQuery
    ) -> VectorStoreFileListResponse:
        """The files of a store, those attached last first."""
        store = VectorStore.find(req.context.principal, vector_store_id)
        rows = VectorStoreFile.live_in(req.context.principal, store.id)
        if query.status is not None:
            rows = rows.where(VectorStoreFile.status == query.status)
        page = Listing.of(rows, limit=query.limit, offset=query.offset, cursor=query.cursor)
        return VectorStoreFileListResponse(
            items=[show_file(row) for row in page.items], total=page.total, next_cursor=page.next_cursor
        )

    @endpoint("Get File", "vector-stores", action=VECTOR_STORE_READ, tenant=True)
    def on_get_one(
        self, req: Request, resp: falcon.Response, vector_store_id: UUID, file_id: str
    ) -> VectorStoreFileResponse:
        """A file of a store. `file_id`: its `openai_file_id`, its `id`, or the id of the stored object."""
        return show_file(_find(req, vector_store_id, file_id))

    @endpoint("Delete File", "vector-stores", action=VECTOR_STORE_MANAGE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, vector_store_id: UUID, file_id: str) -> None:
        """Detach a file: from now on no search of this store finds it. The file itself stays. Repeatable."""
        with metrics.OPERATIONS.counted("detach"):
            with transaction():
                detached = keeping.detach(req.context.principal, vector_store_id, file_id, req.context.client)
                if detached is not None:
                    enqueue(FILE_DETACH, tenant_id=detached.file.tenant_id, file_row_id=str(detached.file.id))
            if detached is not None:
                keeping.stop_runs(vector_store_id, detached.file.id)

    @endpoint(
        "Index File Again",
        "vector-stores",
        action=VECTOR_STORE_MANAGE,
        status=202,
        tenant=True,
        answer_headers=FILE_HEADERS,
    )
    def on_post_index(
        self, req: Request, resp: falcon.Response, vector_store_id: UUID, file_id: str
    ) -> VectorStoreFileResponse:
        """Have a file indexed anew, for example one that failed. Searches find what it had until the new index is complete.
        `X-Run-Id` names the run. Beyond the contract."""
        principal = req.context.principal
        guard = attaching.guard_of(principal, uuid7())
        with metrics.OPERATIONS.counted("attach"):
            attached = guard.begin(lambda: _sent(attaching.index_again(principal, vector_store_id, file_id, guard)))
        return _answer(req, resp, guard, attached, poll=False)


class VectorStoreSearch:
    @endpoint(
        "Search Vector Store", "vector-stores", action=VECTOR_STORE_READ, tenant=True, answer_headers=(USAGE_WARNING,)
    )
    def on_post(
        self, req: Request, resp: falcon.Response, vector_store_id: UUID, body: VectorStoreSearchRequest
    ) -> VectorStoreSearchResponse:
        """The parts of a store's files that are nearest to the query, by meaning and by words, the best first."""
        principal = req.context.principal
        limits.hit("vector_search_per_minute", settings.vector_search_rate_limit_per_minute, 60, principal.tenant_id)
        with metrics.OPERATIONS.counted("search"):
            store = VectorStore.find(principal, vector_store_id)
            query = searching.Query(body.query, body.filters, body.max_num_results or 10, body.ranking_options)
            guard = searching.guard_of(store.tenant_id)
            found = searching.search(store, query, guard)
        warn(resp, guard)
        return VectorStoreSearchResponse(data=found.page())


def _verify_upload(principal: Principal, file_id: str) -> None:
    """Have an upload that is not verified yet looked at now. What else is wrong with the file, `attach` says."""
    if object_id := attaching.object_of(file_id):
        with suppress(ObjectNotFound):
            ready_object(principal, object_id)


def _sent(attached: Attached) -> Attached:
    """With the job of its run, which is sent after the commit."""
    run, args = attached.run, {"file_row_id": str(attached.file.id)}
    if attached.engine == OPENAI:
        enqueue(FILE_ATTACH, run_id=run.id, tenant_id=run.tenant_id, again=attached.is_again, **args)
    else:
        enqueue(FILE_INDEX, run_id=run.id, tenant_id=run.tenant_id, **args)
    return attached


def _answer(
    req: Request, resp: falcon.Response, guard: Guard, attached: Attached, *, poll: bool
) -> VectorStoreFileResponse:
    resp.set_header(RUN_HEADER, str(attached.run.id))
    warn(resp, guard)
    row = attached.file
    if poll:
        row = wait_until(
            lambda: VectorStoreFile.get_or_none(VectorStoreFile.id == attached.file.id) or attached.file,
            lambda found: found.status != IN_PROGRESS,
            settings.vector_poll_seconds,
        )
    return show_file(row)


def _find(req: Request, store_id: UUID, file_id: str) -> VectorStoreFile:
    """FileNotFound, also for an unknown store."""
    try:
        store = VectorStore.find(req.context.principal, store_id)
    except VectorStoreNotFound:
        raise FileNotFound() from None
    return VectorStoreFile.find(req.context.principal, store.id, file_id)


def show(row: VectorStore) -> VectorStoreResponse:
    return VectorStoreResponse(
        id=row.id,
        openai_id=row.openai_id,
        tenant_id=row.tenant_id,
        owner_user_id=row.creator_id,
        name=row.name,
        description=row.description,
        status=row.shown_status,
        usage_bytes=row.usage_bytes,
        expires_after=row.expires_after,
        expires_at=row.expires_at,
        last_active_at=row.last_active_at,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
        engine=row.engine,
    )


def show_file(row: VectorStoreFile) -> VectorStoreFileResponse:
    return VectorStoreFileResponse(
        id=row.id,
        openai_file_id=row.file_id,
        vector_store_id=row.vector_store_id,
        filename=row.filename,
        mime_type=row.mime_type,
        size_bytes=row.size_bytes,
        usage_bytes=row.usage_bytes,
        status=row.status,
        attributes=row.attributes,
        chunking_strategy=row.chunking_strategy,
        last_error=row.last_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        error_code=row.error_code,
        object_id=row.object_id,
        run_id=row.run_id,
    )
