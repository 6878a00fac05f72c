"""PostgreSQL 18 with pgvector and pg_trgm, on its own Unix socket."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psycopg2

from devstack.parts.base import Part

DATABASE = "longshore"
# Small and quick to start, but durable: the tests kill it and check what survives.
TUNING = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "60s",
    "log_min_messages": "fatal",
    "jit": "off",
}


class Postgres(Part):
    name, title, replaced_by = "postgres", "PostgreSQL", ("DATABASE_URL",)
    stop_signal = signal.SIGINT  # fast shutdown: connections are closed, no data is lost

    def __init__(self, state: Path, edge_url: str = "") -> None:
        super().__init__(state, edge_url)
        digest = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        self.socket = Path(tempfile.gettempdir()) / f"longshore-pg-{digest}"  # socket paths must be short
        self.user = "pgserver" if os.geteuid() == 0 else None  # Postgres refuses to run as root
        self.data = self.folder / "data"

    def prepare(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pgserver import _commands
        self.binaries: Path = _commands.POSTGRES_BIN_PATH
        self.socket.mkdir(exist_ok=True)
        if self.user:
            self._give_access(self.user)
        self.socket.chmod(0o700)  # every user who can open the socket may connect without a password
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # we have locked the folder, so it is stale

    def _give_access(self, user: str) -> None:
        """Create the system user that Postgres runs as, and let it read the program and own the data."""
        from pgserver import utils

        utils.ensure_user_exists(user)
        for path in (self.data, self.binaries, self.socket):
            utils.ensure_prefix_permissions(path if path.exists() else path.parent)
        for path in (self.folder, self.socket):
            shutil.chown(path, user)

    def _initialize(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # left by an initdb that was interrupted
        access = ["-U", "postgres", "--auth=trust"]
        self._run("initdb", "-D", str(self.data), *access, "--encoding=utf8", "--no-sync", "--locale=C.UTF-8")

    def _run(self, program: str, *args: str) -> None:
        command = [str(self.binaries / program), *args]
        done = subprocess.run(command, user=self.user, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{program} failed:\n{done.stderr.strip()}")

    def command(self) -> list[str]:
        tuning = [part for name, value in TUNING.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.socket), *tuning]

    def options(self) -> dict[str, Any]:
        return {"user": self.user, "cwd": "/"}

    def ready(self) -> bool:
        try:
            self.execute("select 1")
        except psycopg2.OperationalError:
            return False
        return True

    def wait_until_ready(self) -> None:
        super().wait_until_ready()
        if not self.execute("select 1 from pg_database where datname = %s", DATABASE):
            self.execute(f"create database {DATABASE}")

    def execute(self, sql: str, *args: str) -> list[tuple[Any, ...]]:
        """Run one statement in the database `postgres` and return its rows."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql, args or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket}"

    def env(self) -> dict[str, str]:
        return {"DATABASE_URL": self.url()}

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.socket, ignore_errors=True)

    def kill(self) -> None:
        super().kill()
        shutil.rmtree(self.socket, ignore_errors=True)
