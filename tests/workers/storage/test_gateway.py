"""The gateway against a real S3 server: URLs, bytes, and what its errors become."""

from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import parse_qs, urlsplit

import pytest

from models.storage.names import attachment, safe_name, shown_name
from tests.support.storage import fetch, put
from workers.gateways import storage
from workers.gateways.presigning import Signer
from workers.gateways.storage import BlobChanged, BlobMissing, StorageUnavailable

BUCKET = "agent-data-gateway"  # not that of a tenant
HOSTILE = [
    "../../x",
    "a\r\nSet-Cookie: a=b",
    "\u202egnp.exe",
    'quo"te\\.txt',
    "\U0001f600" * 256,
    "",
    "..",
    "/etc/passwd",
    "C:\\a.txt",
    "x" * 256,
    "über größe.pdf",
    "\0",
]


@pytest.fixture
def bucket(s3):
    storage.make_bucket(BUCKET)
    return BUCKET


def test_what_is_put_is_got_and_listed_and_removed(bucket):
    storage.put(bucket, "t/a.txt", b"hello", "text/plain")
    with storage.get(bucket, "t/a.txt") as stream:
        assert (stream.size, stream.read(2), b"".join(stream)) == (5, b"he", b"llo")
    assert storage.stat(bucket, "t/a.txt").size == 5
    assert [blob.key for blob in storage.blobs(bucket, "t/")] == ["t/a.txt"]
    storage.remove(bucket, "t/a.txt")
    storage.remove(bucket, "t/a.txt")
    with pytest.raises(BlobMissing), storage.get(bucket, "t/a.txt"):
        pass


def test_a_copy_is_made_of_what_was_looked_at_only(bucket):
    storage.put(bucket, "a", b"one", "text/plain")
    etag = storage.stat(bucket, "a").etag
    storage.copy(bucket, "a", "b", etag=etag)
    storage.put(bucket, "a", b"two", "text/plain")
    with pytest.raises(BlobChanged):
        storage.copy(bucket, "a", "b", etag=etag)
    with storage.get(bucket, "b") as stream:
        assert stream.read() == b"one"


def test_a_signed_put_takes_the_announced_length_and_type_only(bucket):
    url = storage.presigned_put(bucket, "u", size=5, mime_type="text/plain", seconds=60)
    assert put(url, b"hello!", **{"Content-Type": "text/plain"}) == 403
    assert put(url, b"hello", **{"Content-Type": "text/html"}) == 403
    assert put(url, b"hello", **{"Content-Type": "text/plain"}) == 200
    assert put(url.replace("/u?", "/other?"), b"hello", **{"Content-Type": "text/plain"}) == 403


def test_a_signed_url_expires(bucket):
    past = datetime.now(UTC) - timedelta(seconds=61)
    from workers.gateways.storage_client import signer

    url = signer().url("PUT", bucket, "u", seconds=60, headers={"content-length": "2"}, at=past)
    assert put(url, b"hi") == 403


@pytest.mark.parametrize("name", HOSTILE)
def test_a_signed_get_downloads_under_a_harmless_name(bucket, name):
    storage.put(bucket, "d", b"<html>", "text/html")
    url = storage.presigned_get(bucket, "d", filename=name, mime_type="text/plain", seconds=60)
    assert len(url) < 3000
    answer = fetch(url)
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (200, b"<html>", "text/plain")
    assert "Set-Cookie" not in answer.headers
    parsed = Message()
    parsed["Content-Disposition"] = answer.headers["Content-Disposition"]
    assert parsed.get_content_disposition() == "attachment"
    saved = shown_name(name)
    assert saved and "/" not in saved and len(saved.encode()) <= 200 and saved.isprintable() and ".." not in saved
    assert safe_name(name).strip(".") and "/" not in safe_name(name)


def test_the_name_comes_back_as_it_was_where_it_is_harmless():
    assert attachment("My File (draft).txt").startswith('attachment; filename="My-File-draft-.txt"; filename*=UTF-8')
    assert safe_name("My File (draft).txt") == "My-File-draft-.txt"
    assert shown_name("größe.pdf") == "größe.pdf"
    assert shown_name("\U0001f600" * 256 + ".pdf").endswith("\U0001f600.pdf")


def test_clients_get_urls_of_the_public_endpoint(s3, configure):
    configure(minio_public_endpoint="https://files.example.com")
    storage.forget()
    url = storage.presigned_get("b-1", "k", filename="a", mime_type="text/plain", seconds=60)
    assert url.startswith("https://files.example.com/b-1/k?")
    assert parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"] == ["host"]


@pytest.mark.parametrize("endpoint", ["files.example.com", "ftp://files", "https://files.example.com/s3", "https://"])
def test_a_public_endpoint_that_cannot_be_signed_for_is_told(s3, configure, endpoint):
    with pytest.raises(ValueError, match="endpoint"):
        Signer(endpoint, "a", "b", "r")
    configure(minio_public_endpoint=endpoint)
    storage.forget()
    with pytest.raises(StorageUnavailable):
        storage.presigned_get("b-1", "k", filename="a", mime_type="text/plain", seconds=60)


def test_the_same_url_as_the_minio_client_signs(s3):
    from workers.gateways.storage_client import signer

    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ours = signer().url("GET", "b-1", "k/ü.txt", seconds=60, at=at)
    theirs = s3.presigned_get_object("b-1", "k/ü.txt", expires=timedelta(seconds=60), request_date=at)
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)


def test_a_storage_that_is_away_is_unavailable(s3, configure):
    configure(minio_endpoint="127.0.0.1:1")
    storage.forget()
    for call in (
        lambda: storage.put("b-1", "k", b"x", "text/plain"),
        lambda: storage.stat("b-1", "k"),
        lambda: list(storage.blobs("b-1")),
        lambda: storage.make_bucket("b-1"),
    ):
        with pytest.raises(StorageUnavailable) as failure:
            call()
        assert (failure.value.status, failure.value.code) == (503, "storage_unavailable")
    assert storage.status() == "unavailable"


def test_no_storage_is_unconfigured(configure):
    configure(minio_endpoint=None)
    storage.forget()
    assert storage.status() == "unconfigured"
    with pytest.raises(StorageUnavailable, match="no object storage"):
        storage.stat("b-1", "k")
    storage.forget()


def test_parts_become_one_object(bucket):
    upload = storage.open_parts(bucket, "big", "application/pdf")
    with pytest.raises(BlobMissing):
        storage.close_parts(bucket, "big", upload, size=1)
    upload = storage.open_parts(bucket, "big", "application/pdf")
    megabytes = 5 * 1024 * 1024
    for number, data in ((2, b"end"), (1, b"x" * megabytes)):
        url = storage.presigned_part(bucket, "big", upload, number, size=len(data), seconds=60)
        assert put(url, data + b"y") == 403
        assert put(url, data) == 200
    assert [(key, found) for key, found, _ in storage.open_uploads(bucket) if found == upload] == [("big", upload)]
    with pytest.raises(BlobMissing):
        storage.close_parts(bucket, "big", upload, size=megabytes + 4)
    storage.close_parts(bucket, "big", upload, size=megabytes + 3)
    assert storage.stat(bucket, "big").size == megabytes + 3
    with pytest.raises(BlobMissing):
        storage.close_parts(bucket, "big", upload, size=megabytes + 3)
    storage.drop_parts(bucket, "big", upload)
