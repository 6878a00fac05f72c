"""Safe by default: docker-compose.yml, the Dockerfile, who can read the signing keys, and the files of `./dev`."""

import copy
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from devstack import env_file
from devstack.check import deployment
from devstack.stack import Stack
from models.auth.key_file import create
from tests.support.production import SAFE, STARTS, python

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = list(COMPOSE["services"])


def problems(compose):
    return [
        *deployment.rights(compose),
        *deployment.networks(compose),
        *deployment.keys(compose),
        *deployment.defaults(compose),
    ]


def test_the_deployment_has_least_rights_and_its_settings_are_safe():
    assert deployment.find(ROOT) == []


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "change",
    [
        {"read_only": False},
        {"cap_drop": []},
        {"cap_add": ["SYS_ADMIN"]},
        {"privileged": True},
        {"security_opt": []},
        {"user": "0:0"},
        {"user": "root"},
        {"mem_limit": ...},
        {"pids_limit": ...},
        {"healthcheck": ...},
        {"logging": {}},
        {"image": "redis:8"},
        {"ports": ["8000:8000"]},
        {"networks": []},
        {"environment": {"SECRET_KEY": "${SECRET_KEY:-something}"}},
        {"environment": {}, "ports": [], "command": "true"},
    ],
    ids=str,
)
def test_no_container_gets_more(service, change):
    weaker = copy.deepcopy(COMPOSE)
    for key, value in change.items():
        if value is ...:
            del weaker["services"][service][key]
        else:
            weaker["services"][service][key] = value
    assert any(service in line for line in problems(weaker))


@pytest.mark.parametrize("service", ["postgres", "redis", "storage"])
def test_the_parts_lead_nowhere_and_have_no_keys(service):
    for change in ({"networks": ["data", "outside"]}, {"volumes": ["keys:/keys:ro"]}):
        weaker = copy.deepcopy(COMPOSE)
        weaker["services"][service] |= change
        assert any(service in line for line in problems(weaker))


def test_nothing_starts_without_an_environment_file():
    for name in SERVICES:
        with pytest.raises(deployment.Unset):
            deployment.interpolated(COMPOSE["services"][name], {})


def test_the_environment_file_has_fresh_secrets_and_no_others():
    first, second = (env_file.values(env_file.fresh(ROOT)) for _ in range(2))
    made = {name for name, value in first.items() if value}
    assert made == {"SECRET_KEY", "METRICS_TOKEN", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY"}
    assert len({*map(first.get, made), *map(second.get, made)}) == 2 * len(made)


@pytest.mark.parametrize(
    "line",
    ["FROM python:3.13-slim", "RUN pip install --no-deps .", "USER root", "RUN /venv/bin/pip install requests"],
)
def test_a_weaker_image_is_reported(line):
    assert [*deployment.dockerfile((ROOT / "Dockerfile").read_text() + line + "\n")]


# ---------------------------------------------------------------- who can read the signing keys


@pytest.mark.parametrize("process", ["worker", "scheduler"])
def test_only_the_edge_needs_the_signing_keys(process, tmp_path):
    """The path is one where reading fails, in production as in development."""
    starts = {**STARTS, "scheduler": "import scheduler.main"}
    for environment in ("production", "development"):
        values = {**SAFE, "ENVIRONMENT": environment, "AUTH_KEY_STORAGE_PATH": str(tmp_path / "none" / "keyset.json")}
        ran = python("-c", starts[process], **values)
        assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == []
    edge = python("-c", STARTS["edge"], **{**values, "ENVIRONMENT": "production"})
    assert edge.returncode == 1 and "No signing key" in edge.stderr


def test_the_stack_tells_only_the_edge_where_the_keys_are(stack):
    paths = {
        name: stack.env_of(name)["AUTH_KEY_STORAGE_PATH"]
        for name in ("edge", "worker-agents", "worker-jobs", "scheduler")
    }
    assert paths.pop("edge") == stack.env["AUTH_KEY_STORAGE_PATH"] and set(paths.values()) == {"/dev/null"}


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602])
def test_a_key_file_that_others_may_read_or_a_group_may_write_is_refused_in_production(tmp_path, configure, mode):
    from models.auth import key_file

    path = tmp_path / "keyset.json"
    create(path)
    configure(environment="production", auth_key_storage_path=str(path))
    path.chmod(mode)
    with pytest.raises(SystemExit, match=f"{mode:o}"):
        key_file.load(path)
    path.chmod(0o640)  # as secret stores mount files
    key_file.load(path)


# ---------------------------------------------------------------- files


def test_what_dev_writes_is_for_its_user_only(tmp_path):
    open_files = []
    with Stack(tmp_path / "state", environ={}) as stack:
        stack.start_parts(only=["valkey"])
        stack.spawn("edge").stop()
        create(Path(stack.env["AUTH_KEY_STORAGE_PATH"]))
        for path in stack.state.rglob("*"):
            mode = path.stat().st_mode
            if not stat.S_ISDIR(mode) and mode & 0o077:
                open_files.append((str(path.relative_to(stack.state)), oct(mode)))
    assert not open_files


def test_no_password_is_in_a_list_of_processes():
    shown = subprocess.run(
        ["grep", "-rnE", "--include=*.py", "requirepass|PGPASSWORD|--password[= ]", "devstack", "models", "workers"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout == ""
    for name, service in COMPOSE["services"].items():
        command = (
            " ".join(service["command"]) if isinstance(service.get("command"), list) else str(service.get("command"))
        )
        assert "${" not in command, name


@pytest.mark.parametrize("name", ["worker-agents", "worker-jobs", "scheduler"])
def test_a_process_of_the_deployment_does_what_its_line_in_the_procfile_says(name):
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line[:1] != "#")
    assert COMPOSE["services"][name]["command"] == lines[name]
