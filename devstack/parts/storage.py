"""S3-compatible storage, by SeaweedFS."""

import json
import os
import secrets
import signal
import sysconfig
from pathlib import Path
from typing import Any

from devstack.parts.base import Part
from devstack.process import accepts_connections


class Storage(Part):
    name, title, replaced_by = "storage", "S3 (SeaweedFS)", ("MINIO_ENDPOINT",)
    stop_signal = signal.SIGKILL  # a graceful stop takes 25 s; written objects survive SIGKILL
    ports = ("s3", "master", "volume", "filer")

    def prepare(self) -> None:
        key = self._key()
        identity = {
            "name": "longshore",
            "credentials": [{"accessKey": key["access"], "secretKey": key["secret"]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [identity]}))

    def _key(self) -> dict[str, str]:
        """{"access", "secret"}: made once, then read from the state folder."""
        file = self.folder / "keys.json"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps({"access": "longshore", "secret": secrets.token_hex(20)}))
        key: dict[str, str] = json.loads(file.read_text())
        return key

    def command(self) -> list[str]:
        weed = Path(sysconfig.get_path("scripts")) / "weed"
        flags = [f"-{name}.port={self.port(name)}" for name in self.ports]
        grpc = [f"-{name}.port.grpc={self.port(name + '-grpc')}" for name in self.ports]
        return [
            str(weed),
            "server",
            "-s3",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={self.folder}",
            f"-s3.config={self.folder / 's3.json'}",
            "-master.volumeSizeLimitMB=256",
            "-volume.max=2000",  # a bucket has a volume of its own
            "-master.telemetry=false",
            "-master.electionTimeout=1s",  # there is one master: do not wait 20 s for others
            "-s3.port.iceberg=0",  # off, like the next: their fixed ports would stop a second instance
            "-s3.port.lance=0",
            *flags,
            *grpc,
        ]

    def options(self) -> dict[str, Any]:
        # By default a bucket's first byte makes seven volumes, so that a few tenants would use them up.
        return {"cwd": self.folder, "env": {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}}

    def ready(self) -> bool:
        return accepts_connections(self.port("s3"))

    def env(self) -> dict[str, str]:
        key = self._key()
        return {
            "MINIO_ENDPOINT": f"127.0.0.1:{self.port('s3')}",
            "MINIO_ACCESS_KEY": key["access"],
            "MINIO_SECRET_KEY": key["secret"],
            "MINIO_SECURE": "false",
            "MINIO_REGION": "us-east-1",
        }
