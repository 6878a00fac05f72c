"""The connection pool under more callers than connections."""

import threading
import time

import pytest
from playhouse.pool import MaxConnectionsExceeded

from models.platform.database import Database
from models.platform.settings import settings


@pytest.fixture
def small():
    found = Database(settings.database_url, max_connections=2, timeout=0.3)
    yield found
    found.close_idle()


def test_those_who_wait_are_served_as_soon_as_a_connection_is_free(small):
    waited = []

    def work():
        began = time.monotonic()
        for _ in range(5):
            with small.connection_context():
                small.execute_sql("select pg_sleep(0.002)")
        waited.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waited) == 8
    assert max(waited) < 0.9  # peewee's own wait sleeps a second when it misses a notice


def test_who_waits_too_long_hears_it_and_nothing_leaks(small):
    small.connect()
    held = threading.Event()
    done = threading.Event()

    def hold():
        small.connect()
        held.set()
        done.wait()
        small.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    caught = []

    def late():
        try:
            small.connect(patience=0.1)
        except MaxConnectionsExceeded as error:
            caught.append(str(error))

    third = threading.Thread(target=late)
    third.start()
    third.join()
    assert caught == ["No database connection was free within 0.1 s."]
    done.set()
    thread.join()
    assert small.close() is True
    assert small.close() is False
    with small.connection_context():
        assert small.execute_sql("select 1").fetchone() == (1,)


def test_a_failed_connection_gives_its_place_back():
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", max_connections=1, timeout=0.2)
    for _ in range(3):
        with pytest.raises(Exception, match="refused"):
            nowhere.connect()
