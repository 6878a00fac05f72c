"""/.well-known/jwks.json: the public keys, and when a cached copy is still good."""

from datetime import UTC, datetime, timedelta

import pytest

from models.auth import key_file, signing_keys

PATH = "/.well-known/jwks.json"


@pytest.fixture
def keys_path(configure, monkeypatch, tmp_path):
    """The path of a keyset file of this test's own, read anew for every request."""
    path = tmp_path / "keyset.json"
    configure(auth_key_storage_path=str(path))
    monkeypatch.setattr(key_file, "LOOK_SECONDS", 0)
    return path


def test_an_etag_that_matches_is_a_304(http):
    first = http.simulate_get(PATH)
    assert first.json["keys"][0]["crv"] == "Ed25519" and "d" not in first.json["keys"][0]
    etag = first.headers["ETag"]
    for if_none_match in (etag, f'"other", {etag}', "*"):
        answer = http.simulate_get(PATH, headers={"If-None-Match": if_none_match})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)


def test_a_rotation_changes_the_keys_and_their_etag(http, keys_path):
    before = http.simulate_get(PATH)
    key_file.rotate(keys_path)
    after = http.simulate_get(PATH, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200 and after.headers["ETag"] != before.headers["ETag"]
    active, following = [key["kid"] for key in before.json["keys"]]
    kids = [key["kid"] for key in after.json["keys"]]
    assert kids[0] == following and kids[2] == active and kids[1] not in (active, following)
    assert all(set(key) == {"kty", "crv", "kid", "x", "use", "alg"} for key in after.json["keys"])


def test_a_revocation_changes_the_last_modified_date(http, keys_path, monkeypatch):
    clock = datetime.now(UTC).replace(microsecond=0)
    for module in (key_file, signing_keys):
        monkeypatch.setattr(module, "now", lambda: clock)
    key_file.create(keys_path)
    key_file.rotate(keys_path)
    retired = key_file.keyset().keys[2].kid
    headers = {"If-Modified-Since": http.simulate_get(PATH).headers["Last-Modified"]}
    assert http.simulate_get(PATH, headers=headers).status_code == 304
    clock += timedelta(seconds=1)
    key_file.revoke(keys_path, [retired])
    answer = http.simulate_get(PATH, headers=headers)
    assert answer.status_code == 200 and retired not in answer.text
