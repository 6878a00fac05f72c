"""Fixtures for tests of the signing keys."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def path(tmp_path, configure):
    """The file of a new key set, which this process uses."""
    from models.auth.key_file import create

    file = tmp_path / "keyset.json"
    create(file)
    configure(auth_key_storage_path=str(file))
    return file


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock as key_file reads it: it stands still until `clock.at` is changed."""
    from models.auth import key_file

    clock = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(key_file, "time", SimpleNamespace(monotonic=lambda: clock.at))
    return clock


@pytest.fixture
def looks(monkeypatch):
    """[number of stats, number of parses] of the key file."""
    from models.auth import key_file

    counts = [0, 0]

    def count(number, original):
        def counted(path):
            counts[number] += 1
            return original(path)

        monkeypatch.setattr(key_file, original.__name__, counted)

    count(0, key_file._stamp)
    count(1, key_file.read)
    return counts
