"""The connection pool under more callers than connections."""

import threading
import time

import pytest
from playhouse.pool import MaxConnectionsExceeded

from models.platform.database import Database
from models.platform.settings import settings


@pytest.fixture
def small():
    database = Database(settings.database_url.get_secret_value(), max_connections=2, timeout=0.3)
    yield database
    database.close_idle()


def test_callers_that_wait_get_a_connection_as_soon_as_one_is_free(small):
    durations = []

    def work():
        started = time.monotonic()
        for _ in range(5):
            with small.connection_context():
                small.execute_sql("select pg_sleep(0.002)")
        durations.append(time.monotonic() - started)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(durations) == 8
    assert max(durations) < 0.9  # peewee's own wait sleeps a second if it misses that one is free


def test_a_caller_that_waits_too_long_gets_an_error_and_no_connection_leaks(small):
    small.connect()
    is_connected = threading.Event()
    done = threading.Event()

    def hold():
        small.connect()
        is_connected.set()
        done.wait()
        small.close()

    thread = threading.Thread(target=hold)
    thread.start()
    is_connected.wait()
    errors = []

    def late():
        try:
            small.connect(timeout=0.1)
        except MaxConnectionsExceeded as error:
            errors.append(str(error))

    third = threading.Thread(target=late)
    third.start()
    third.join()
    assert errors == ["No database connection was free within 0.1 s."]
    done.set()
    thread.join()
    assert small.close() is True
    assert small.close() is False
    with small.connection_context():
        assert small.execute_sql("select 1").fetchone() == (1,)


def test_a_failed_connection_frees_its_slot():
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", max_connections=1, timeout=0.2)
    for _ in range(3):
        with pytest.raises(Exception, match="refused"):
            nowhere.connect()
