"""Each gate finds the problems it is meant to find."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from devstack.check import catalogues, dependencies, docs, imports, jobs, lock, migrations, run, sizes, style
from devstack.check.gates import GATES, Gate

PIN = "peewee==4.5.3 \\\n    --hash=sha256:00\n"


@pytest.fixture
def project(tmp_path):
    """project({path: text}) creates these files and returns their root folder."""

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_long_files_and_functions_are_reported(project):
    root = project({
        "models/long.py": "x = 1\n" * 401,
        "models/deep.py": "def deep():\n" + "    x = 1\n" * 60,
        "models/fine.py": "def fine():\n" + "    x = 1\n" * 59,
    })  # fmt: skip
    assert sizes.find(root) == ["models/long.py has 401 lines", "models/deep.py:1 deep has 61 lines"]


def test_a_high_median_file_length_is_reported(project):
    root = project({f"edge/{n}.py": "x = 1\n" * 121 for n in range(3)})
    assert sizes.find(root) == ["half of the shipped files have more than 121 lines"]


def test_links_must_point_to_existing_files_and_headings(project):
    root = project({
        "README.md": "[a](docs/a.md) [b](docs/b.md) [c](docs/a.md#second-part) [d](docs/a.md#third) [e](#here) "
        "[f](https://example.com/x)\n\n```\n[g](nowhere.md)\n```\n[one][two]\n\n[two]: gone.txt\n",
        "docs/a.md": "# A\n\n## Second *part*\n",
    })  # fmt: skip
    assert list(docs.links(root)) == [
        "README.md: docs/b.md does not exist",
        "README.md: docs/a.md#third matches no heading on that page",
        "README.md: #here matches no heading on that page",
        "README.md: gone.txt does not exist",
    ]


def test_anchors_of_repeated_headings_are_numbered():
    assert docs.anchors("# One\n# One\n## A `b` (c)\n") == {"one", "one-1", "a-b-c"}


CONFIG = "[options]\ninstall_requires =\n    peewee>=4.5,<5\n[options.extras_require]\ndev =\n    pytest>=9\notel =\n"


def test_imports_must_be_declared_and_declared_packages_must_be_used(project):
    root = project({
        "setup.cfg": CONFIG,
        "models/a.py": "import json\nimport redis\nfrom models import b\n",
        "tests/test_a.py": "import pytest\nimport redis\n",
    })  # fmt: skip
    assert dependencies.find(root) == [
        "models/a.py:2 imports redis, which setup.cfg does not declare",
        "tests/test_a.py:2 imports redis, which setup.cfg does not declare",
        "setup.cfg: peewee in install_requires is not used",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PIN, None),
        ("redis==8.0.0 \\\n    --hash=sha256:00\n", "has no peewee"),
        (PIN.replace("4.5.3", "3.17.0"), "has peewee 3.17.0, but setup.cfg requires"),
        ("peewee==4.5.3\n", "peewee==4.5.3 has no hash"),
        (f"--index-url https://example.com\n{PIN}", "contains a URL"),
    ],
)
def test_a_lock_file_must_match_setup_cfg(project, text, problem):
    root = project({"setup.cfg": CONFIG, "requirements.lock": text})
    problems = list(lock.mismatches(root, "requirements.lock", ()))
    assert problems == [] if problem is None else len(problems) == 1 and problem in problems[0]


def test_a_lock_file_may_have_several_versions_with_markers():
    text = f"{PIN}peewee==4.4.0 ; python_version < '3.12' \\\n    --hash=sha256:00\n"
    assert lock.pins(text) == {"peewee": {"4.5.3", "4.4.0"}}


def test_imports_outside_allowed_packages_and_direct_sends_are_reported(project):
    root = project({
        ".importlinter": "[homes]\nopenai = workers.agents.provider\n",
        "workers/agents/provider.py": "import openai\n",
        "workers/chat.py": "from openai import OpenAI\n\nbroker.enqueue(1)\n",
        "workers/jobs.py": "broker.enqueue(1)\n",
    })  # fmt: skip
    assert imports.homes(root) == ["workers/chat.py:1 imports openai, which is allowed only in workers.agents.provider"]
    assert imports.senders(root) == ["workers/chat.py:3 sends a message directly instead of enqueuing a job"]


def test_a_forbidden_import_is_reported_with_its_line(project):
    layers = "[importlinter:contract:a]\nname = a\ntype = layers\nlayers =\n    edge\n    models\n"
    root = project({
        ".importlinter": f"[importlinter]\nroot_packages =\n    edge\n    models\n\n{layers}",
        "edge/__init__.py": "",
        "models/__init__.py": "",
        "models/a.py": "import edge\n",
    })  # fmt: skip
    assert "models.a -> edge (l.1)" in imports.contracts(root)


def test_jobs_and_actors_that_do_not_match_are_reported():
    assert list(
        jobs.differences({"a": "mail", "b": "mail", "d": "mail"}, {"a": "mail", "c": "mail", "d": "index"})
    ) == [
        "the job b has no actor in any module that workers.main imports",
        "the actor c is not in the job table",
        "d is sent to the queue mail, but its actor reads index",
    ]


def test_queue_names_in_the_procfile_end_at_the_next_option(project):
    root = project({"Procfile": "# x\nw: dramatiq workers.main -p 1 --queues mail index --threads 8\nv: x -Q agents\n"})
    assert jobs.queues_read(root) == {"mail", "index", "agents"}


def test_fix_applies_ruff_fixes(project):
    root = project({"a.py": "import os\nx = {'a':1}\n"})
    assert [line.split()[1].rstrip(":") for line in style.find(root)] == ["unformatted", "I001", "F401"]
    style.fix(root)
    assert (style.find(root), (root / "a.py").read_text()) == ([], 'x = {"a": 1}\n')


def test_faults_of_the_catalogue_are_reported_one_by_one(project, configure):
    root = project({"agents/one.py": "x = 1\n", "tools/two.py": "\ndef\n"})
    configure(agents_path=str(root))
    assert catalogues.loading() == [
        f"{root}/agents/one.py:1: declares none: one Agent per file",
        f"{root}/tools/two.py:2: invalid syntax",
    ]


MIGRATION = '''
def up(migrator, db):
    db.execute_sql("""{up}""")

def down(migrator, db):
    db.execute_sql("""{down}""")
'''
FIRST = (
    "create table dog (id uuid primary key, sex text not null check (sex in ('f', 'm')), age int)",
    "drop table dog",
)
SECOND = {
    "a correct migration": ("alter table dog add owner uuid references dog", "alter table dog drop owner", []),
    "a down that leaves an index": (
        "alter table dog add name text; create index if not exists dog_age on dog (age)",
        "alter table dog drop name",
        ["0002_b: after down: new dog: index CREATE INDEX dog_age ON public.dog USING btree (age)"],
    ),
    "a down that fails on data": (
        "alter table dog alter age drop not null",
        "alter table dog alter age set not null",
        ["0002_b: down failed: column"],
    ),
    "an up that fails on data": ("alter table dog add race text not null", "", ["0002_b: up failed: column"]),
}


@pytest.fixture(scope="module")
def empty():
    with migrations.database() as server:
        yield server


@pytest.mark.parametrize("what", SECOND)
def test_migrations_must_run_up_down_and_up_again_with_data(project, empty, what):
    up, down, expected = SECOND[what]
    folder = project({
        "0001_a.py": MIGRATION.format(up=FIRST[0], down=FIRST[1]),
        "0002_b.py": MIGRATION.format(up=up, down=down),
    })  # fmt: skip
    empty.execute_sql("drop schema public cascade; create schema public")
    problems = list(migrations.problems(empty, folder))
    assert len(problems) >= len(expected)
    assert all(line.startswith(start) for line, start in zip(problems, expected, strict=False)), problems
    assert bool(problems) == bool(expected)


def test_a_failing_gate_is_a_problem_and_the_others_still_run(project):
    console = Console(record=True, width=200, file=sys.stderr)
    gates = [Gate("nowhere", "nowhere", "does not exist"), *run.select(["sizes"], fast=True)]
    assert run.run(gates, Path(__file__).parents[2], console=console) == 1
    assert "the gate itself failed" in console.export_text()


def test_gates_are_selected_by_name_and_unknown_names_are_rejected():
    assert [gate.name for gate in run.select([], fast=False)] == [gate.name for gate in GATES]
    assert {gate.name for gate in run.select([], fast=True)} < {gate.name for gate in GATES}
    with pytest.raises(SystemExit, match="No gate is named nonsense"):
        run.select(["nonsense"], fast=False)


def test_the_module_prints_its_problems_as_json(project):
    """run.py starts `python -m devstack.check` for each gate."""
    root = project({"models/long.py": "x = 1\n" * 401})
    command = [sys.executable, "-m", "devstack.check", "sizes"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert (
        done.stdout.splitlines()[-1]
        == '["models/long.py has 401 lines", "half of the shipped files have more than 401 lines"]'
    )
