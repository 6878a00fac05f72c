"""Manage the signing keys."""

import argparse
from pathlib import Path

from peewee import PeeweeException

from models.auth import key_file
from models.commands import CommandFailed, actor
from models.platform import audit
from models.platform.database import database, transaction
from models.platform.settings import settings

HELP = "Manage the signing keys in the file AUTH_KEY_STORAGE_PATH. Running processes notice a change within a second."
LINE = "{:24} {:8} {:21} {:21} {}"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|rotate|revoke")
    actions.add_parser("create", help="create the file with an active and a next key, if it does not exist")
    actions.add_parser("list", help="show all keys without their private parts")
    actions.add_parser(
        "rotate", help="make the next key active, retire the active one (its tokens stay valid), and add a next key"
    )
    revoke = actions.add_parser("revoke", help="remove leaked keys; their tokens are refused at once")
    revoke.add_argument(
        "kid", nargs="+", help="key id as shown by `list`; if it is the active key, the next one takes its place"
    )


def run(args: argparse.Namespace) -> int:
    path = Path(settings.auth_key_storage_path)
    try:
        before = _states(path) if path.exists() else {}
        match args.action:
            case "create":
                key_file.create(path)
            case "rotate":
                key_file.rotate(path)
            case "revoke":
                key_file.revoke(path, args.kid)
        _print(path)
        _record(args.action, before, _states(path))
    except (OSError, key_file.KeyFileInvalid, key_file.UnknownKey) as error:
        raise CommandFailed(str(error)) from None
    return 0


def _record(action: str, before: dict[str, str], after: dict[str, str]) -> None:
    """After the change, because a leaked key must go even when Postgres is away: that is then an error."""
    if before == after:
        return
    try:
        with database.connection_context(), transaction():
            audit.record(f"keys.{action}", actor(), "signing-keys", before=before, after=after)
    except PeeweeException as error:
        raise CommandFailed(f"The keys were changed, but this could not be written to the audit log: {error}") from None


def _states(path: Path) -> dict[str, str]:
    """The state of each key by its id."""
    return {key.kid: key.state for key in key_file.read(path).keys}


def _print(path: Path) -> None:
    keys = key_file.read(path).keys
    print(path)
    print(LINE.format("kid", "state", "created", "retired", "valid until"))
    for key in keys:
        times = (key.created_at, key.retired_at, key.valid_until)
        print(LINE.format(key.kid, key.state, *(f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else "-" for time in times)))
