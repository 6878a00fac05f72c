"""Files to be indexed: stored for real, attached, and the job of their run."""

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.ids import uuid7
from models.vector_stores import attaching
from models.vector_stores.files import VectorStoreFile
from tests.support.vector_stores import attach, make_store, principal_of
from workers import runtime
from workers.jobs import FILE_INDEX, enqueue
from workers.storage.writing import store as store_object
from workers.vector_stores import indexing


class Shelf:
    """A tenant's store, the files that are attached to it, and their jobs."""

    def __init__(self, tenant, **columns):
        self.tenant, self.store = tenant, make_store(tenant, **columns)

    def put(self, data, name="notes.txt", mime_type="text/plain"):
        data = data.encode() if isinstance(data, str) else data
        return store_object(self.tenant.id, name=name, data=data, mime_type=mime_type, source=f"test:{uuid7()}")

    def attach(self, stored, **wish):
        """The row of the file, with its job."""
        attached = attach(self.tenant, self.store, stored.id, **wish)
        return self._with_job(attached)

    def add(self, data, name="notes.txt", mime_type="text/plain", **wish):
        return self.attach(self.put(data, name, mime_type), **wish)

    def again(self, row):
        principal = principal_of(self.tenant)
        guard = attaching.guard_of(principal, uuid7())
        attached = guard.begin(lambda: attaching.index_again(principal, self.store.id, row.file_id, guard))
        return self._with_job(attached)

    def _with_job(self, attached):
        with transaction():
            args = {"file_row_id": str(attached.file.id)}
            enqueue(FILE_INDEX, run_id=attached.run.id, tenant_id=self.tenant.id, **args)
        release()
        return attached.file


def job_of(row):
    return Job.select().where(Job.run_id == row.run_id, Job.name == FILE_INDEX.name).get()


def work(row):
    """Do the job of the file's run now, as a worker would. The row as it is then."""
    job = job_of(row)
    Job.update(due_at=now()).where(Job.id == job.id).execute()
    runtime.execute(FILE_INDEX, indexing.index_file, str(job.id))
    return fresh(row)


def fresh(row):
    found = VectorStoreFile.get_by_id(row.id)
    release()
    return found
