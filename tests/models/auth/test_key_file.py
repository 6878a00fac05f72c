"""The key file: how it is written, and how running processes follow its changes."""

import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.auth import key_file
from models.auth.key_file import create, keyset, read, rotate
from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, InvalidToken, Key
from tests.support.keys import BROKEN, by_state, old_item, token


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
