"""What we made at the provider and nobody knows any more: found by its mark, and removed.

An answer may get lost, a worker may be killed in the worst moment, and a tenant may be deleted with all of its rows.
"""

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from models.platform import audit
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.settings import settings
from models.storage.objects import StorageObject
from models.vector_stores.files import ProviderFile
from models.vector_stores.stores import VectorStore
from workers.gateways import openai_vector_stores as provider
from workers.jobs import VECTOR_STORE_RECONCILE
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
AT_WORK = timedelta(hours=1)  # what is younger may still be written down
SYSTEM = "system:vector_stores"


@dataclass(frozen=True, slots=True)
class Report:
    """Ids at the provider: of stores and files without a row, and of copies whose object is deleted."""

    stores: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.stores or self.files)


@actor(VECTOR_STORE_RECONCILE)
def reconcile(lease: Lease) -> None:
    if settings.openai_api_key is None or not _is_used():
        return
    if not _has_own_address():
        log.warning("vector_store.not_reconciled", extra={"reason": "APP_PUBLIC_URL is not an address of its own"})
        return
    lease.checkpoint()
    remove(find())


def find() -> Report:
    """Look through all that we have at the provider. openai.ProviderError."""
    latest = (now() - AT_WORK).timestamp()
    stores = [(owner, remote.id) for owner, remote in provider.ours() if remote.created_at < latest]
    files = [(owner, file.id) for owner, file in provider.copies() if file.created_at < latest]
    try:
        return Report(
            [provider_id for owner, provider_id in stores if not _is_known_store(owner, provider_id)],
            [provider_id for owner, provider_id in files if not _is_known_file(owner, provider_id)],
        )
    finally:
        release()


def remove(report: Report) -> None:
    """Remove what was found. openai.ProviderError; what is removed by then stays so."""
    for provider_id in report.stores:
        provider.remove(provider_id)
    for provider_id in report.files:
        provider.remove_file(provider_id)
        ProviderFile.delete().where(ProviderFile.provider_file_id == provider_id).execute()
        release()
    if not report.is_clean:
        with transaction():
            audit.record("vector_store.reconciled", SYSTEM, None, stores=report.stores, files=report.files)
        release()
    log.info("vector_store.reconciled", extra={"stores": len(report.stores), "files": len(report.files)})


def _has_own_address() -> bool:
    """Whether our mark is ours alone: on localhost, two developers who share an account have the same."""
    host = urlsplit(settings.app_public_url).hostname or ""
    return host != "localhost" and not host.startswith("127.") and host != "::1"


def _is_used() -> bool:
    """Whether this installation has ever made anything there."""
    made = VectorStore.select(VectorStore.id).where(VectorStore.provider_id.is_null(False)).exists()
    found = made or ProviderFile.select(ProviderFile.id).exists() or settings.vector_engine == "openai"
    release()
    return bool(found)


def _is_known_store(store_id: UUID, provider_id: str) -> bool:
    is_it = (VectorStore.id == store_id) & (VectorStore.provider_id == provider_id) & VectorStore.deleted_at.is_null()
    return bool(VectorStore.select(VectorStore.id).where(is_it).exists())


def _is_known_file(object_id: UUID, provider_id: str) -> bool:
    is_it = (ProviderFile.provider_file_id == provider_id) & (ProviderFile.object_id == object_id)
    if not ProviderFile.select(ProviderFile.id).where(is_it).exists():
        return False
    is_live = (StorageObject.id == object_id) & StorageObject.deleted_at.is_null()
    return bool(StorageObject.select(StorageObject.id).where(is_live).exists())
