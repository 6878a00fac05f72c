"""Signing keys: rotation, retirement and revocation, and what they mean for tokens."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.auth import key_file, signing_keys, verified_tokens
from models.auth.key_file import read, revoke, rotate
from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, InvalidToken, Key
from models.platform.settings import settings
from tests.support.keys import by_state, kids_in, old_item, token


def test_rotation_advances_every_key_and_keeps_old_tokens_valid(path):
    before = by_state(path)
    old = token(read(path))
    rotate(path)
    after = by_state(path)
    assert [key.kid for key in after[ACTIVE]] == [key.kid for key in before[NEXT]]
    assert [key.kid for key in after[RETIRED]] == [key.kid for key in before[ACTIVE]]
    assert len(after[NEXT]) == 1 and after[NEXT][0].kid not in kids_in(before)
    assert read(path).verify(old)["sub"] == "user:x"
    assert read(path).verify(token(read(path)))["sub"] == "user:x"


def test_the_next_key_is_published_and_verifies_before_it_signs(path):
    following = by_state(path)[NEXT][0]
    published = {key["kid"]: key["x"] for key in read(path).jwks()["keys"]}
    assert published[following.kid] == following.jwk["x"]
    assert read(path).verify(token(Key(following.kid, following.material, following.created_at)))
    rotate(path)
    assert read(path).active.kid == following.kid


def test_a_retired_key_expires_with_its_last_token_and_the_next_rotation_removes_it(path, monkeypatch):
    lasting = token(read(path), lifetime=10**9)
    gone = read(path).active.kid
    rotate(path)
    retired = by_state(path)[RETIRED][0]
    longest = timedelta(
        minutes=max(settings.auth_refresh_token_ttl_minutes, signing_keys.SERVICE_ACCOUNT_TOKEN_MINUTES)
    )
    assert retired.valid_until - retired.retired_at >= longest + timedelta(seconds=signing_keys.LEEWAY_SECONDS)
    assert retired.valid_until - retired.retired_at < longest + timedelta(days=1)
    keys = read(path)
    tag, changed = keys.etag, keys.last_modified

    monkeypatch.setattr(signing_keys, "now", lambda: retired.valid_until - timedelta(seconds=1))
    assert keys.verify(lasting) and gone in str(keys.jwks()) and keys.etag == tag
    monkeypatch.setattr(signing_keys, "now", lambda: retired.valid_until)
    with pytest.raises(InvalidToken, match="unknown key"):
        keys.verify(lasting)
    assert gone not in str(keys.jwks()) and keys.etag != tag and keys.last_modified > changed

    assert gone in path.read_text()
    rotate(path)
    assert gone not in path.read_text()


def test_a_retired_key_lives_as_long_as_the_longest_token(configure):
    moment = datetime.now(UTC)
    key = Key("old", Ed25519PrivateKey.generate(), moment).retire(moment)
    usual = key.valid_until
    configure(auth_refresh_token_ttl_minutes=50_000)
    assert key.valid_until - usual == timedelta(minutes=50_000 - 43_200)
    configure(auth_refresh_token_ttl_minutes=5)
    assert key.valid_until == usual


@pytest.mark.parametrize(("lifetime", "claims"), [(-3600, {}), (600, {"exp": None}), (600, {"iss": "somebody"})])
def test_tokens_of_a_retired_key_are_fully_checked(path, lifetime, claims):
    signer = read(path).active
    bad, good = token(signer, lifetime, **claims), token(signer)
    rotate(path)
    assert read(path).verify(good)
    with pytest.raises(InvalidToken):
        read(path).verify(bad)


def test_a_revoked_key_and_its_tokens_are_refused_at_once(path):
    rotate(path)
    states = by_state(path)
    [retired], [active], [following] = states[RETIRED], states[ACTIVE], states[NEXT]
    live = token(active)

    revoke(path, [retired.kid])
    assert [key.kid for key in read(path).keys] == [active.kid, following.kid]
    assert read(path).verify(live)

    revoke(path, [active.kid])
    assert read(path).active.kid == following.kid and len(read(path).keys) == 2
    with pytest.raises(InvalidToken, match="unknown key"):
        read(path).verify(live)

    revoke(path, [key.kid for key in read(path).keys])
    assert len(read(path).keys) == 2 and following.kid not in path.read_text()


def test_remembered_tokens_are_still_checked_for_time_audience_and_keys(path, monkeypatch):
    keys = read(path)
    text = token(keys, aud=["here"])
    claims = keys.verify(text, audience=["here"])
    claims["sub"] = "changed by the caller"
    assert keys.verify(text, audience=["here"])["sub"] == "user:x"
    with pytest.raises(InvalidToken):
        keys.verify(text, audience=["elsewhere"])
    with pytest.raises(InvalidToken):
        keys.verify(text[:-10] + 10 * "A", audience=["here"])
    [digest] = keys.verified.entries
    with monkeypatch.context() as later:
        later.setattr(verified_tokens, "now", lambda: datetime.now(UTC) + timedelta(seconds=600 + 31))
        assert keys.verified.claims(digest) is None
    revoke(path, [keys.active.kid])
    with pytest.raises(InvalidToken):
        read(path).verify(text, audience=["here"])


def test_a_retired_key_expires_for_remembered_tokens_too(path, monkeypatch):
    old = token(read(path), lifetime=10**9)
    rotate(path)
    keys = read(path)
    assert keys.verify(old)
    monkeypatch.setattr(signing_keys, "now", lambda: datetime.now(UTC) + timedelta(days=31))
    with pytest.raises(InvalidToken):
        keys.verify(old)


def test_the_number_of_remembered_tokens_is_limited(path, monkeypatch):
    monkeypatch.setattr(verified_tokens, "MAX_TOKENS", 2)
    keys = read(path)
    texts = [token(keys, jti=str(n)) for n in range(4)]
    assert [keys.verify(text)["jti"] for text in texts] == list("0123")
    assert [claims["jti"] for _, claims in keys.verified.entries.values()] == ["2", "3"]


def test_revoking_an_unknown_key_changes_nothing(path):
    before = path.read_text()
    with pytest.raises(key_file.UnknownKey, match="no key nobody"):
        revoke(path, [read(path).active.kid, "nobody"])
    assert path.read_text() == before


def test_without_a_next_key_rotation_generates_the_active_key(path):
    path.write_text(json.dumps({"schema_version": 1, "keys": [old_item("only")]}))
    rotate(path)
    states = by_state(path)
    assert [key.kid for key in states[RETIRED]] == ["only"] and len(states[ACTIVE]) == len(states[NEXT]) == 1
