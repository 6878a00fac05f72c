"""Stored objects: announcing uploads, having them verified, downloading, listing and deleting."""

from typing import Literal, cast
from uuid import UUID

import falcon

from edge.download_links import download_link
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.storage import (
    ObjectQuery,
    StorageObjectListResponse,
    StorageObjectResponse,
    StoragePresignDownloadResponse,
    StoragePresignUploadRequest,
    StoragePresignUploadResponse,
    UploadPart,
)
from edge.stored_objects import bucket_made, opened_in_parts, ready_object, settled
from models.conversations.conversation import Conversation
from models.platform import limits as rates
from models.platform.authorization import STORAGE_DELETE, STORAGE_READ, STORAGE_UPLOAD
from models.platform.database import transaction
from models.platform.principal import Principal
from models.platform.settings import settings
from models.storage import limits, listing, removal, uploads
from models.storage.listing import ListedObject
from models.storage.names import upload_key
from models.storage.objects import PENDING_UPLOAD, REJECTED, ObjectNotFound, StorageObject
from models.storage.uploads import Announcement, NotPending, UploadRejected
from workers.gateways import storage
from workers.jobs import STORAGE_REMOVE, enqueue


class Objects:
    @endpoint("List Objects", "storage", action=STORAGE_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, query: ObjectQuery) -> StorageObjectListResponse:
        """The tenant's objects, the newest first. Those of a conversation are shown to those who may read that."""
        principal = req.context.principal
        conversation = str(query.conversation_id) if query.conversation_id else None
        next_offset = None
        if query.cursor is None:
            page, next_offset = listing.page_at(principal, conversation, query.limit, query.offset)
        else:
            page = listing.page_after(principal, conversation, query.limit, query.cursor)
        items = [show(row) for row in page.items]
        return StorageObjectListResponse(items=items, next_offset=next_offset, next_cursor=page.next_cursor)

    @endpoint("Get Object", "storage", action=STORAGE_READ, tenant=True)
    def on_get_one(self, req: Request, resp: falcon.Response, object_id: UUID) -> StorageObjectResponse:
        """One object, as lists show it. Beyond the contract."""
        return _shown(req.context.principal, object_id)

    @endpoint("Create Presigned Upload", "storage", action=STORAGE_UPLOAD, status=201, tenant=True)
    def on_post_upload(
        self, req: Request, resp: falcon.Response, body: StoragePresignUploadRequest
    ) -> StoragePresignUploadResponse:
        """Announce an object, and get the URL that takes its bytes: exactly so many, of this type.

        It counts against the tenant's bytes from now on. Once the bytes are there, `/complete` has them verified.
        """
        principal = req.context.principal
        limits.check_file(body.mime_type, body.size_bytes)
        conversation = Conversation.get_visible(principal, str(body.conversation_id)) if body.conversation_id else None
        tenant_id = cast(UUID, principal.tenant_id)  # the action needs one
        rates.hit("storage_uploads_per_minute", settings.storage_uploads_per_minute, 60, tenant_id)
        bucket_made(tenant_id)
        with transaction():
            row = uploads.announce(
                principal,
                Announcement(
                    filename=body.filename,
                    mime_type=body.mime_type,
                    size_bytes=body.size_bytes,
                    agent_key=body.agent_key,
                    conversation_id=conversation.id if conversation else None,
                    metadata=body.metadata,
                    in_parts=body.parts,
                ),
            )
            answer = None if body.parts else _upload(resp, row)
        return answer or _upload(resp, opened_in_parts(row))

    @endpoint("Renew Presigned Upload", "storage", action=STORAGE_UPLOAD, tenant=True)
    def on_post_renew(self, req: Request, resp: falcon.Response, object_id: UUID) -> StoragePresignUploadResponse:
        """Get fresh URLs for an upload of one's own that is not complete; admins, for anybody's. Beyond the contract."""
        principal = req.context.principal
        row = StorageObject.find(principal, object_id)
        if not principal.has_role("admin") and row.creator_id != principal.user_id:
            raise ObjectNotFound()
        if row.status != PENDING_UPLOAD or (row.part_bytes and not row.upload_id):
            raise NotPending()
        return _upload(resp, row)

    @endpoint(
        "Complete Upload",
        "storage",
        action=STORAGE_UPLOAD,
        tenant=True,
        also={202: StorageObjectResponse},
    )
    def on_post_complete(self, req: Request, resp: falcon.Response, object_id: UUID) -> StorageObjectResponse:
        """Have the bytes that were uploaded verified. The answer shows the object, which is `ready` then.

        409 `upload_missing` if they have not come; 422 if they are not what was announced, which is final. 202 if it takes
        longer than a request may: it goes on by itself. Can be repeated. Beyond the contract.
        """
        principal = req.context.principal
        row = StorageObject.find(principal, object_id)
        if row.status == PENDING_UPLOAD:
            row = settled(row)
        if row.status == REJECTED:
            raise UploadRejected(row)
        if row.status == PENDING_UPLOAD:
            resp.status = falcon.HTTP_202
        return _shown(principal, object_id)

    @endpoint("Get Download Url", "storage", action=STORAGE_READ, tenant=True)
    def on_get_download(self, req: Request, resp: falcon.Response, object_id: UUID) -> StoragePresignDownloadResponse:
        """A URL that downloads an object under its own name. An upload whose bytes have come is verified first.

        409 `object_not_ready` if there is nothing to download.
        """
        row = ready_object(req.context.principal, object_id)
        resp.set_header("Cache-Control", "no-store")
        return StoragePresignDownloadResponse(
            object_id=row.id,
            download_url=download_link(row),
            method="GET",
            headers={},
            bucket=row.bucket,
            object_key=row.object_key,
            expires_in_seconds=settings.storage_signed_url_ttl_seconds,
        )

    @endpoint("Delete Object", "storage", action=STORAGE_DELETE, status=204, tenant=True)
    def on_delete_one(self, req: Request, resp: falcon.Response, object_id: UUID) -> None:
        """Delete an object: at once for everybody, and then in the storage. Also answers 204 if there is none.

        Vector stores that have indexed it keep what they know of it until the file is detached there.
        """
        with transaction():
            row = removal.delete(req.context.principal, object_id, client=req.context.client)
            if row is not None:
                enqueue(STORAGE_REMOVE, tenant_id=row.tenant_id, object_id=str(row.id))


def _upload(resp: falcon.Response, row: StorageObject) -> StoragePresignUploadResponse:
    resp.set_header("Cache-Control", "no-store")
    seconds, key = settings.storage_signed_url_ttl_seconds, upload_key(row.tenant_id, row.id)
    parts, headers = None, {"Content-Length": str(row.size_bytes)}
    if row.upload_id:
        parts = [
            UploadPart(
                part_number=number,
                upload_url=storage.presigned_part(row.bucket, key, row.upload_id, number, size=size, seconds=seconds),
                size_bytes=size,
            )
            for number, size in enumerate(uploads.parts_of(row), 1)
        ]
        headers = {"Content-Length": str(parts[0].size_bytes)}
        url = parts[0].upload_url
    else:
        headers = {"Content-Type": row.mime_type, **headers}
        url = storage.presigned_put(row.bucket, key, size=row.size_bytes, mime_type=row.mime_type, seconds=seconds)
    return StoragePresignUploadResponse(
        object_id=row.id,
        upload_url=url,
        method="PUT",
        headers=headers,
        bucket=row.bucket,
        object_key=row.object_key,
        expires_in_seconds=seconds,
        parts=parts,
    )


def _shown(principal: Principal, object_id: UUID) -> StorageObjectResponse:
    row = listing.shown(principal, object_id)
    if row is None:
        raise ObjectNotFound()
    return show(row)


def show(row: ListedObject) -> StorageObjectResponse:
    return StorageObjectResponse(
        id=row.id,
        bucket=row.bucket,
        object_key=row.object_key,
        filename=row.filename,
        mime_type=row.mime_type,
        size_bytes=row.size_bytes,
        status=row.status,
        created_at=row.created_at,
        conversation_id=row.conversation,
        agent_key=row.agent_key,
        sha256=row.sha256 if row.status == "ready" else None,
        rejection=cast(Literal["size_mismatch", "type_mismatch"] | None, row.rejection_code),
    )
