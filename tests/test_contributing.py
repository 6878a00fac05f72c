"""Runs every example of CONTRIBUTING.md. A new file becomes a module; an addition is added to the module that it names."""

import importlib
import re
import sys
import types
from pathlib import Path

import falcon.testing
import pytest

from tests.support.accounts import log_in

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
EXAMPLE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = {match[1]: match[2] for match in EXAMPLE.finditer(PAGE.read_text())}
MIGRATION = next(path for path in EXAMPLES if "/migrations/" in path)


@pytest.fixture
def installed(monkeypatch, clean):
    """The modules of the examples by path, installed in the order of the page, which is that of the layers."""
    from workers.broker import broker

    monkeypatch.setattr(broker, "actors", dict(broker.actors))
    modules = {}
    for path, code in EXAMPLES.items():
        name = path.removesuffix(".py").replace("/", ".")
        module = importlib.import_module(name) if (ROOT / path).exists() else types.ModuleType(name)
        names = dict(vars(module))
        exec(compile(code, f"{PAGE.name}: {path}", "exec"), names)
        for key, value in names.items():
            if vars(module).get(key) is not value:
                monkeypatch.setattr(module, key, value, raising=False)
        if path != MIGRATION and not (ROOT / path).exists():
            monkeypatch.setitem(sys.modules, name, module)
        modules[path] = module
    return modules


@pytest.fixture
def table(installed):
    """The example's table, dropped at the end of the test."""
    from models.platform.database import database

    database.execute_sql(installed[MIGRATION].UP)
    yield
    database.execute_sql(installed[MIGRATION].DOWN)


def test_every_python_block_of_the_page_is_run():
    blocks = re.findall(r"^```python$", PAGE.read_text(), re.MULTILINE)
    assert len(blocks) == len(EXAMPLES) >= 8


def test_the_migration_runs_up_down_and_up_on_data(tmp_path):
    from devstack.check import migrations

    folder = ROOT / "models" / "platform" / "migrations"
    for path in folder.glob("[0-9]*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / Path(MIGRATION).name).write_text(EXAMPLES[MIGRATION])
    with migrations.database() as empty:
        assert list(migrations.problems(empty, tmp_path)) == []


def test_the_endpoint_stores_a_greeting_and_its_job_sends_it(installed, table, person):
    from models.jobs.ledger import Job
    from workers import runtime

    Greeting = installed["models/greetings.py"].Greeting
    send = installed["workers/greetings.py"].send_greeting
    kind = installed["workers/jobs.py"].GREETING_SEND

    answer = post(installed, person(), {"text": "Good morning"})
    assert (answer.status_code, answer.json["text"]) == (202, "Good morning")
    job = Job.get(Job.name == kind.name)
    runtime.execute(kind, send, str(job.id))
    assert Job.get_by_id(job.id).state == "succeeded"
    assert Greeting.get_by_id(answer.json["id"]).sent_at


def test_a_job_that_runs_twice_or_has_lost_its_row_succeeds(installed, table, tenant):
    from models.jobs.ledger import Job
    from models.platform.database import transaction
    from workers import jobs, runtime

    Greeting = installed["models/greetings.py"].Greeting
    send = installed["workers/greetings.py"].send_greeting
    kind = installed["workers/jobs.py"].GREETING_SEND
    greeting = Greeting.create(tenant_id=tenant.id, text="Good evening")
    with transaction():
        rows = [jobs.enqueue(kind, greeting_id=str(row_id)) for row_id in (greeting.id, greeting.id, tenant.id)]
    for row in rows:
        runtime.execute(kind, send, str(row.id))
    assert [Job.get_by_id(row.id).state for row in rows] == ["succeeded"] * 3


@pytest.mark.parametrize(
    ("role", "body", "status"),
    [(None, {"text": "Hi"}, 401), ("viewer", {"text": "Hi"}, 403), ("member", {"text": ""}, 422), ("member", {}, 422)],
)
def test_the_endpoint_refuses_strangers_and_invalid_bodies(installed, table, person, role, body, status):
    assert post(installed, person(role) if role else None, body).status_code == status


def test_the_agent_fits_into_the_catalogue_and_its_tool_answers(tmp_path, configure):
    from workers.agents.catalog import catalog
    from workers.agents.functions import ToolsContext
    from workers.agents.outcomes import call_function

    files = [path for path in EXAMPLES if "/bundled/" in path]
    for path in files:
        copy = tmp_path / Path(path).parent.name / Path(path).name
        copy.parent.mkdir()
        copy.write_text(EXAMPLES[path])
    configure(agents_path=str(tmp_path))
    (tool,) = catalog().tools_of(catalog().get("editor"))
    assert (tool.name, tool.seconds, tool.strict, len(files)) == ("count_words", 5, True, 2)
    context = ToolsContext(None, None)
    assert call_function(tool, {"text": "one two three"}, context).output == "3"
    assert call_function(tool, {"text": " "}, context).output == "Error: The text is empty."
    assert "text: Field required" in call_function(tool, {}, context).output


def post(installed, principal, body):
    """The answer to a POST by this principal to the example's resource, mounted in the whole application."""
    from edge.app import create_app
    from edge.endpoint import Route

    app, resource = create_app(), installed["edge/resources/greetings.py"].Greetings()
    Route("/api/v1/greetings", resource).add_to(app)
    headers = {"Host": "localhost", **(bearer(principal) if principal else {})}
    return falcon.testing.TestClient(app).simulate_post("/api/v1/greetings", json=body, headers=headers)


def bearer(principal):
    from models.auth.users import User

    tokens = log_in(User.get_by_id(principal.user_id).email)
    return {"Authorization": f"Bearer {tokens.access_token}"}
