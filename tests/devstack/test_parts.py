"""The embedded parts: start, stop, kill, several instances at once, and cleaning up."""

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
    """Two stacks at the same time; one path contains a space."""
    folder = tmp_path_factory.mktemp("states")
    with Stack(folder / "one", environ=CLEAN) as one, Stack(folder / "the other", environ=CLEAN) as other:
        for stack in (one, other):
            stack.start_parts(only=("postgres", "valkey"))
        yield one, other


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restarted_part_has_its_data_and_its_address(two, end):
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


def test_two_instances_share_nothing(two):
    one, other = two
    redis.Redis.from_url(one.env["REDIS_URL"]).set("mine", "1")
    assert redis.Redis.from_url(other.env["REDIS_URL"]).get("mine") is None
    assert one.env["DATABASE_URL"] != other.env["DATABASE_URL"]
    assert one.env["SECRET_KEY"] != other.env["SECRET_KEY"]


def test_a_state_folder_in_use_is_refused_and_not_touched(two):
    one, _ = two
    with pytest.raises(SystemExit, match="in use"):
        Stack(one.state, environ=CLEAN).start_parts(only=("postgres",))
    assert (one.parts["postgres"].data / "postmaster.pid").exists()
    assert sql(one, "select 1") == [(1,)]


def test_a_part_is_not_started_if_its_url_is_in_the_environment(tmp_path):
    with Stack(tmp_path, environ={**CLEAN, "REDIS_URL": "redis://elsewhere/0"}) as stack:
        stack.start_parts(only=("valkey",))
        assert not stack.parts
        assert stack.env["REDIS_URL"] == "redis://elsewhere/0"


def test_the_storage_has_no_fixed_ports(tmp_path):
    part = Storage(tmp_path)
    part.folder.mkdir(parents=True)
    part.prepare()
    assert {"-s3.port.iceberg=0", "-s3.port.lance=0"} <= set(part.command())


def test_children_and_grandchildren_die_with_a_killed_parent(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from devstack.process import Process;"
        "Process('sleep 300 & sleep 300 & wait', Path(sys.argv[1]) / 'log');"
        "print('up', flush=True); time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "up\n"
    time.sleep(0.2)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) >= 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    for process in alive:
        process.kill()
    assert not alive


def test_a_part_distinguishes_between_dying_and_being_stopped(tmp_path):
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


def test_wipe_deletes_everything_but_the_lock(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "secret_key").write_text("old")
    with Stack(tmp_path, environ={}) as stack:
        stack.wipe()
        assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
        with pytest.raises(SystemExit, match="in use"):
            Stack(tmp_path, environ={}).wipe()


def test_a_faulty_catalogue_is_told_before_any_process_starts(tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "odd.py").write_text("import nothing_of_this_name\n")
    stack = Stack(tmp_path / "state", environ=CLEAN)
    stack.env = {**CLEAN, "ENVIRONMENT": "development", "AGENTS_PATH": str(tmp_path)}
    with pytest.raises(SystemExit, match=r"odd.py:1: ModuleNotFoundError"):
        stack.check_catalogue()
