"""The signing keys: rotation, retirement, revocation, and how running processes follow."""

import json
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models.auth import key_file, signing_keys, verified_tokens
from models.auth.key_file import create, keyset, read, revoke, rotate
from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, InvalidToken, Key, KeySet
from models.commands import main
from models.platform.settings import settings


@pytest.fixture
def path(tmp_path, configure):
    """A fresh key set that this process uses."""
    file = tmp_path / "keyset.json"
    create(file)
    configure(auth_key_storage_path=str(file))
    return file


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock as key_file reads it: it stands still until `clock.at` is changed."""
    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(key_file, "time", SimpleNamespace(monotonic=lambda: clock.at))
    return clock


@pytest.fixture
def looks(monkeypatch):
    """[number of stats, number of parses] of the key file."""
    counts = [0, 0]

    def count(number, original):
        def counted(path):
            counts[number] += 1
            return original(path)

        monkeypatch.setattr(key_file, original.__name__, counted)

    count(0, key_file._stamp)
    count(1, key_file.read)
    return counts


def token(key_or_set, lifetime=600, **claims):
    signer = key_or_set if isinstance(key_or_set, KeySet) else KeySet([key_or_set])
    moment = int(time.time())
    claims = {"sub": "user:x", "iss": settings.app_name, "iat": moment, "exp": moment + lifetime} | claims
    return signer.sign({name: value for name, value in claims.items() if value is not None})


def by_state(path):
    """{state: [keys]}"""
    keys = {ACTIVE: [], NEXT: [], RETIRED: []}
    for key in read(path).keys:
        keys[key.state].append(key)
    return keys


def pem(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def old_item(name, private=None):
    """A key as files keys it before keys had states."""
    return {
        "kid": name,
        "private_key": pem(private or Ed25519PrivateKey.generate()),
        "created_at": "2026-01-02T03:04:05+00:00",
    }


def test_rotation_advances_every_key_and_keeps_old_tokens_valid(path):
    before = by_state(path)
    old = token(read(path))
    rotate(path)
    after = by_state(path)
    assert [key.kid for key in after[ACTIVE]] == [key.kid for key in before[NEXT]]
    assert [key.kid for key in after[RETIRED]] == [key.kid for key in before[ACTIVE]]
    assert len(after[NEXT]) == 1 and after[NEXT][0].kid not in read_kids(before)
    assert read(path).verify(old)["sub"] == "user:x"
    assert read(path).verify(token(read(path)))["sub"] == "user:x"


def read_kids(states):
    return {key.kid for keys in states.values() for key in keys}


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


def test_a_retired_key_has_no_private_part_in_the_file(path):
    secret = json.loads(path.read_text())["keys"][0]["private_key"]
    rotate(path)
    item = json.loads(path.read_text())["keys"][2]
    assert item["state"] == RETIRED and "private_key" not in item
    assert isinstance(read(path).active.retire(datetime.now(UTC)).material, Ed25519PublicKey)
    assert secret not in path.read_text() and secret.splitlines()[1] not in path.read_text()


def test_only_the_owner_can_read_the_file_and_no_other_files_are_left_behind(path):
    previous = os.umask(0)
    try:
        rotate(path)
        create(path.with_name("other.json"))
    finally:
        os.umask(previous)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("keyset.json", "other.json", ".keyset.json.lock", ".other.json.lock"), 0o600)


def test_a_failed_write_keeps_the_old_file_and_leaves_no_draft(path, monkeypatch):
    before = path.read_text()
    monkeypatch.setattr(key_file.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        rotate(path)
    assert path.read_text() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [".keyset.json.lock", "keyset.json"]


def test_parallel_rotations_lose_no_key(path):
    signers, barrier = {key.kid for key in read(path).keys}, threading.Barrier(8)

    def operator(_):
        barrier.wait()
        rotate(path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(operator, range(8)))
    after = by_state(path)
    assert (len(after[ACTIVE]), len(after[NEXT]), len(after[RETIRED])) == (1, 1, 8)
    assert signers <= {key.kid for key in after[RETIRED]}


def test_a_symbolic_link_to_the_file_stays_a_link(path, tmp_path):
    link = tmp_path / "elsewhere" / "link.json"
    link.parent.mkdir()
    link.symlink_to(path)
    rotate(link)
    assert link.is_symlink() and len(read(path).keys) == 3


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


def test_in_a_file_without_states_the_first_key_is_active(path):
    signer, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path.write_text(json.dumps({"schema_version": 1, "keys": [old_item("first", signer), old_item("second", other)]}))
    assert read(path).active.kid == "first"
    for kid, private in (("first", signer), ("second", other)):
        assert read(path).verify(token(Key(kid, private, moment)))

    create(path)  # adds the next key
    assert [(key.kid, key.state) for key in read(path).keys if key.state != NEXT] == [
        ("first", ACTIVE),
        ("second", RETIRED),
    ]
    assert len(by_state(path)[NEXT]) == 1 and path.read_text().count("PRIVATE KEY") == 4
    before = path.read_text()
    create(path)
    assert path.read_text() == before


def test_without_a_next_key_rotation_generates_the_active_key(path):
    path.write_text(json.dumps({"schema_version": 1, "keys": [old_item("only")]}))
    rotate(path)
    states = by_state(path)
    assert [key.kid for key in states[RETIRED]] == ["only"] and len(states[ACTIVE]) == len(states[NEXT]) == 1


def test_a_running_process_notices_a_rotation_within_a_second(path, clock):
    first = keyset()
    rotate(path)
    assert keyset() is first
    clock.at += key_file.LOOK_SECONDS
    assert keyset().active.kid != first.active.kid
    assert keyset().verify(token(first))


def test_a_new_key_is_found_at_once(path, clock):
    keys = keyset()
    path.write_text(json.dumps({"schema_version": 1, "keys": [old_item("new")]}))
    assert keyset() is keys
    assert keys.verify(token(read(path)))
    assert keyset().active.kid == "new"


def test_the_file_is_checked_at_most_twice_a_second(path, clock, looks):
    keys = keyset()
    foreign = token(Key("foreign", Ed25519PrivateKey.generate(), datetime.now(UTC)))
    clock.at += key_file.LOOK_SECONDS
    looks[:] = [0, 0]
    for _ in range(500):
        with pytest.raises(InvalidToken, match="unknown key"):
            keyset().verify(foreign)
    assert looks == [2, 0]
    clock.at += key_file.LOOK_SECONDS
    rotate(path)
    looks[:] = [0, 0]
    for _ in range(500):
        with pytest.raises(InvalidToken, match="unknown key"):
            keyset().verify(foreign)
    assert looks == [2, 1] and keyset() is not keys


def test_parallel_requests_read_a_changed_file_once(path, clock, looks):
    keyset()
    rotate(path)
    clock.at += key_file.LOOK_SECONDS
    looks[:] = [0, 0]
    barrier = threading.Barrier(16)

    def request(_):
        barrier.wait()
        return keyset()

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(request, range(16)))) == 1
    assert looks == [1, 1]


BROKEN = {
    "not JSON": b'{"schema_version": 1, "ke',
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "no keys": b'{"schema_version": 1, "keys": []}',
    "another version": json.dumps({"schema_version": 2, "keys": [old_item("a")]}).encode(),
    "twice the same kid": json.dumps({"schema_version": 1, "keys": [old_item("a"), old_item("a")]}).encode(),
    "two active": json.dumps(
        {"schema_version": 1, "keys": [old_item("a") | {"state": ACTIVE}, old_item("b") | {"state": ACTIVE}]}
    ).encode(),
    "an unknown state": json.dumps({"schema_version": 1, "keys": [old_item("a") | {"state": "other"}]}).encode(),
    "no date": json.dumps({"schema_version": 1, "keys": [old_item("a") | {"created_at": None}]}).encode(),
    "another kind of key": json.dumps(
        {"schema_version": 1, "keys": [old_item("a", generate_private_key(SECP256R1()))]}
    ).encode(),
    "missing": None,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_becomes_invalid_is_logged_once_and_ignored(path, clock, caplog, content):
    keys = keyset()
    good = path.read_bytes()
    caplog.set_level(logging.ERROR)
    path.unlink() if content is None else path.write_bytes(content)
    for _ in range(3):
        clock.at += key_file.LOOK_SECONDS
        assert keyset() is keys and keys.verify(token(keys))
    assert [record.message for record in caplog.records] == ["keys.unusable"]
    assert str(path) in caplog.records[0].reason and "PRIVATE" not in caplog.text

    path.write_bytes(good)
    rotate(path)
    clock.at += key_file.LOOK_SECONDS
    assert keyset() is not keys and len(keyset().keys) == 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_production_process_does_not_start_without_a_valid_file(path, configure, content):
    configure(environment="production")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(SystemExit, match="models keys create" if content is None else "No usable signing key"):
        keyset()
    assert path.exists() is (content is not None)


def test_a_missing_file_is_created_in_development(tmp_path, configure):
    configure(auth_key_storage_path=str(tmp_path / "new" / "keyset.json"))
    assert [key.state for key in keyset().keys] == [ACTIVE, NEXT]


def test_the_commands_show_every_key_and_no_private_part(path, capsys):
    secrets = {line for key in read(path).keys for line in pem(key.material).splitlines() if "-" not in line}
    leaked = read(path).active.kid
    for command in (["create"], ["list"], ["rotate"], ["revoke", leaked], ["rotate"], ["list"]):
        assert main(["keys", *command]) == 0
        output = capsys.readouterr()
        secrets |= {
            line
            for key in read(path).keys
            if key.state != RETIRED
            for line in pem(key.material).splitlines()
            if "-" not in line
        }
        for key in read(path).keys:
            [line] = [line for line in output.out.splitlines() if key.kid in line]
            assert key.state in line and f"{key.created_at:%Y-%m-%dT%H:%M:%SZ}" in line
            assert key.retired_at is None or f"{key.valid_until:%Y-%m-%dT%H:%M:%SZ}" in line
        assert not any(secret in output.out + output.err for secret in secrets) and "PRIVATE" not in output.out
    assert leaked not in output.out


@pytest.mark.parametrize("command", [["list"], ["rotate"], ["revoke", "a"]])
@pytest.mark.parametrize("content", [BROKEN["not JSON"], BROKEN["two active"], None])
def test_a_failing_command_prints_the_reason_and_exits_with_2(path, capsys, command, content):
    path.unlink() if content is None else path.write_bytes(content)
    assert main(["keys", *command]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and str(path) in output.err
    assert "PRIVATE" not in output.err


def test_revoking_an_unknown_key_id_exits_with_2(path, capsys):
    assert main(["keys", "revoke", "nobody"]) == 2
    assert "no key nobody" in capsys.readouterr().err


def test_dev_keys_rotates_the_keys_of_the_local_instance(tmp_path, monkeypatch, configure):
    from typer.testing import CliRunner

    from devstack.cli import app
    from devstack.stack import key_file

    create(key_file(tmp_path))
    monkeypatch.setenv("AUTH_KEY_STORAGE_PATH", "")
    configure(auth_key_storage_path=str(key_file(tmp_path)))
    result = CliRunner().invoke(app, ["keys", "rotate", "--state", str(tmp_path)])
    assert result.exit_code == 0 and len(read(key_file(tmp_path)).keys) == 3
    assert os.environ["AUTH_KEY_STORAGE_PATH"] == str(key_file(tmp_path))
    assert CliRunner().invoke(app, ["keys", "revoke", "nobody", "--state", str(tmp_path)]).exit_code == 2
