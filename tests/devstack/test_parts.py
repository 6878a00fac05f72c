"""The embedded parts as tests and operators use them: started, stopped, killed, beside each other, left behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg2
import pytest
import redis

from devstack.parts.storage import Storage
from devstack.stack import ROOT, Stack

CLEAN = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_ENDPOINT", "_KEY"))}


def sql(stack, text):
    connection = psycopg2.connect(stack.env["DATABASE_URL"])
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two stacks beside each other; one path has a space."""
    folder = tmp_path_factory.mktemp("states")
    with Stack(folder / "one", environ=CLEAN) as one, Stack(folder / "the other", environ=CLEAN) as other:
        for stack in (one, other):
            stack.start_parts(only=("postgres", "valkey"))
        yield one, other


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_written_survives_the_end_of_its_part_at_the_same_address(two, end):
    one, _ = two
    sql(one, "create table if not exists kept (x int)")
    sql(one, "truncate kept; insert into kept values (1)")
    client = redis.Redis.from_url(one.env["REDIS_URL"])
    client.set("kept", "yes")
    time.sleep(1.1)  # appendfsync everysec
    before = dict(one.env)
    for part in one.parts.values():
        getattr(part, end)()
        part.start()
    assert one._environment() == before
    assert sql(one, "select x from kept") == [(1,)]
    assert client.get("kept") == b"yes"


def test_two_states_share_nothing(two):
    one, other = two
    redis.Redis.from_url(one.env["REDIS_URL"]).set("mine", "1")
    assert redis.Redis.from_url(other.env["REDIS_URL"]).get("mine") is None
    assert one.env["DATABASE_URL"] != other.env["DATABASE_URL"]
    assert one.env["SECRET_KEY"] != other.env["SECRET_KEY"]


def test_a_state_in_use_is_refused_and_left_alone(two):
    one, _ = two
    with pytest.raises(SystemExit, match="in use"):
        Stack(one.state, environ=CLEAN).start_parts(only=("postgres",))
    assert (one.parts["postgres"].data / "postmaster.pid").exists()
    assert sql(one, "select 1") == [(1,)]


def test_a_part_with_a_url_in_the_environment_is_not_started(tmp_path):
    with Stack(tmp_path, environ={**CLEAN, "REDIS_URL": "redis://elsewhere/0"}) as stack:
        stack.start_parts(only=("valkey",))
        assert not stack.parts
        assert stack.env["REDIS_URL"] == "redis://elsewhere/0"


def test_the_storage_opens_no_port_that_a_second_one_would_need(tmp_path):
    part = Storage(tmp_path)
    part.folder.mkdir(parents=True)
    part.prepare()
    assert {"-s3.port.iceberg=0", "-s3.port.lance=0"} <= set(part.command())


def test_nothing_outlives_a_starter_that_was_killed_not_even_grandchildren(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from devstack.process import Process;"
        "Process('sleep 300 & sleep 300 & wait', Path(sys.argv[1]) / 'log');"
        "print('up', flush=True); time.sleep(300)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout.readline() == "up\n"
    time.sleep(0.2)
    family = psutil.Process(starter.pid).children(recursive=True)
    assert len(family) >= 3
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    for process in left:
        process.kill()
    assert not left


def test_a_part_knows_whether_it_died_or_was_stopped(tmp_path):
    with Stack(tmp_path, environ={}) as stack:
        stack.start_parts(only=["valkey"])
        valkey = stack.parts["valkey"]
        assert not valkey.died()
        valkey.process.kill()
        valkey.process.wait(5)
        assert valkey.died()
        valkey.start()
        assert not valkey.died()
        valkey.stop()
        assert not valkey.died()


def test_fresh_forgets_all_but_what_holds_the_folder(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "secret_key").write_text("old")
    with Stack(tmp_path, environ={}) as stack:
        stack.wipe()
        assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
        with pytest.raises(SystemExit, match="in use"):
            Stack(tmp_path, environ={}).wipe()
