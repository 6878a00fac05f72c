"""The commands `keys` and `./dev keys`."""

import os

import pytest
from peewee import OperationalError

from models.auth.key_file import create, read
from models.auth.signing_keys import RETIRED
from models.commands import main
from models.platform import audit
from models.platform.audit import AuditEvent
from tests.support.keys import BROKEN, pem


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


def test_every_change_of_the_keys_is_audited(path, capsys, clean):
    first = read(path).active.kid
    for command in (["list"], ["create"], ["rotate"], ["revoke", first]):
        assert main(["keys", *command]) == 0
    rotated, revoked = AuditEvent.select().order_by(AuditEvent.id)
    assert (rotated.action, rotated.details["before"][first], rotated.details["after"][first]) == (
        "keys.rotate",
        "active",
        "retired",
    )
    assert revoked.action == "keys.revoke" and first not in revoked.details["after"]
    assert revoked.actor.startswith("operator:")


def test_a_leaked_key_goes_even_if_the_audit_log_cannot_be_written(path, capsys, monkeypatch):
    def away(*args, **more):
        raise OperationalError("Postgres is away")

    monkeypatch.setattr(audit, "record", away)
    leaked = read(path).active.kid
    assert main(["keys", "revoke", leaked]) == 2
    assert "The keys were changed, but this could not be written to the audit log" in capsys.readouterr().err
    assert leaked not in read(path).by_kid


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
