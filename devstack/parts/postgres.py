"""PostgreSQL 18 with pgvector and pg_trgm, on a Unix socket of its own."""

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
# Small and quick to start; durable, because the fault tests are about what survives.
TUNING = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "60s",
    "log_min_messages": "fatal",
    "jit": "off",
}


class Postgres(Part):
    name, title, replaced_by = "postgres", "PostgreSQL", ("DATABASE_URL",)
    stop_signal = signal.SIGINT  # fast shutdown: clients are told, nothing is lost

    def __init__(self, state: Path):
        super().__init__(state)
        digest = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        self.socket = Path(tempfile.gettempdir()) / f"longshore-pg-{digest}"  # socket paths must be short
        self.user = "pgserver" if os.geteuid() == 0 else None  # Postgres refuses to run as root
        self.data = self.folder / "data"

    def prepare(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pgserver import _commands, utils
        self.binaries = _commands.POSTGRES_BIN_PATH
        self.socket.mkdir(exist_ok=True)
        if self.user:
            utils.ensure_user_exists(self.user)
            for path in (self.data, self.binaries, self.socket):
                utils.ensure_prefix_permissions(path if path.exists() else path.parent)
            for path in (self.folder, self.socket):
                shutil.chown(path, self.user)
        self.socket.chmod(0o700)  # whoever can open the socket is trusted
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(self.data, ignore_errors=True)
            self._run(
                "initdb",
                "-D",
                str(self.data),
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=utf8",
                "--no-sync",
                "--locale=C.UTF-8",
            )
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # we hold the state: a leftover is of a crashed run

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *args], user=self.user, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{program} failed:\n{done.stderr.strip()}")

    def command(self) -> list[str]:
        tuning = [part for name, value in TUNING.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.socket), *tuning]

    def kill(self) -> None:
        super().kill()
        shutil.rmtree(self.socket, ignore_errors=True)

    def options(self) -> dict[str, Any]:
        return {"user": self.user, "cwd": "/"}

    def ready(self) -> bool:
        try:
            self.execute("select 1")
        except psycopg2.OperationalError:
            return False
        return True

    def settle(self) -> None:
        super().settle()
        if not self.execute("select 1 from pg_database where datname = %s", DATABASE):
            self.execute(f"create database {DATABASE}")

    def execute(self, sql: str, *args: str) -> list[tuple[Any, ...]]:
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
