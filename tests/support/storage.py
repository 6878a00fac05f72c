"""Helpers for tests of the object storage, which is a real one."""

import io
import zipfile

import minio
import urllib3

WEB = urllib3.PoolManager(retries=False)
PNG = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000000010000000108060000001f15c489") + b"\0" * 32
PDF = b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"
EXE = (
    b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0"
    + b"\0" * 44
    + b"\x80\0\0\0"
    + b"\x0e\x1f\xba\x0e"
    + b"\0" * 60
    + b"PE\0\0"
)
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def connect(part, configure):
    """Have the settings name this part; yields its `minio` client."""
    from workers.gateways import storage

    env = part.env()
    configure(
        minio_endpoint=env["MINIO_ENDPOINT"],
        minio_access_key=env["MINIO_ACCESS_KEY"],
        minio_secret_key=env["MINIO_SECRET_KEY"],
        minio_secure=False,
        minio_region=env["MINIO_REGION"],
    )
    storage.forget()
    secure = {"secure": False, "region": env["MINIO_REGION"]}
    yield minio.Minio(env["MINIO_ENDPOINT"], env["MINIO_ACCESS_KEY"], env["MINIO_SECRET_KEY"], **secure)
    storage.forget()


def zipped(**files):
    """A zip file with these members; `__` in a name stands for a slash, `_dot_` for a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return buffer.getvalue()


def put(url, data, **headers):
    """PUT by plain HTTP -> the status."""
    return WEB.request("PUT", url, body=data, headers=headers).status


def fetch(url):
    return WEB.request("GET", url)


def keys(client, bucket):
    """What is in the bucket."""
    return sorted(found.object_name for found in client.list_objects(bucket, recursive=True))


def object_by(person, tenant, **columns):
    """A row of a ready object, whose bytes are nowhere."""
    from models.platform.ids import uuid7
    from models.storage.names import bucket_of, object_key
    from models.storage.objects import StorageObject

    object_id = uuid7()
    row = {
        "id": object_id,
        "tenant_id": tenant.id,
        "creator_id": person.user_id if person else None,
        "bucket": bucket_of(tenant.id),
        "object_key": object_key(tenant.id, object_id, "notes.txt"),
        "filename": "notes.txt",
        "mime_type": "text/plain",
        "size_bytes": 5,
        "status": "ready",
    }
    return StorageObject.create(**{**row, **columns})


def work(*names):
    """Do the waiting jobs of the storage, or those of these names, here and now. Returns how many there were."""
    from tests.support.jobs import do
    from workers.storage import reconciliation, removing, verifying

    actors = {
        "storage.bucket": verifying.make_bucket,
        "storage.parts": verifying.open_parts,
        "storage.verify": verifying.verify,
        "storage.remove": removing.remove,
        "storage.sweep": removing.sweep,
        "storage.reconcile": reconciliation.reconcile,
    }
    return do({name: actors[name] for name in names or actors})


class Store:
    """The endpoints of stored objects, as one caller sees them."""

    URL = "/api/v1/storage/objects"

    def __init__(self, http, headers):
        self.http, self.headers = http, {**headers, "Content-Type": "application/json"}

    def __call__(self, method, path="", **options):
        return self.http.simulate_request(method, f"{self.URL}{path}", headers=self.headers, **options)

    def announce(self, data=b"hello", **more):
        body = {"filename": "notes.txt", "mime_type": "text/plain", "size_bytes": len(data), **more}
        return self("POST", "/upload-url", json=body)

    def send(self, data=b"hello", **more):
        """Announce these bytes and put them. Returns the id."""
        answer = self.announce(data, **more)
        assert answer.status_code == 201, answer.text
        upload = answer.json
        assert put(upload["upload_url"], data, **upload["headers"]) == 200
        return upload["object_id"]

    def complete(self, object_id):
        return self("POST", f"/{object_id}/complete")

    def upload(self, data=b"hello", **more):
        """The object, once it is ready."""
        answer = self.complete(self.send(data, **more))
        assert answer.status_code == 200, answer.text
        return answer.json

    def download_url(self, object_id):
        return self("GET", f"/{object_id}/download-url")

    def listed(self, **query):
        return self("GET", params=query).json
