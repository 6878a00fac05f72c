"""docker-compose.yml and the Dockerfile: nothing runs with more rights than it needs, and the settings are safe.

`./dev env`, completed as its comments say, must satisfy `python -m models check` for every process.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from devstack import env_file
from models.platform import startup_checks
from models.platform.settings import read

VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# What a reader of .env.example writes into its empty lines.
COMPLETED = {
    "APP_PUBLIC_URL": "https://app.example.com",
    "ALLOWED_HOSTS": "api.example.com",
    "MINIO_PUBLIC_ENDPOINT": "https://files.example.com",
    "SMTP_URL": "smtps://user:word@mail.example.com:465",
    "MAIL_FROM": "Example <no-reply@example.com>",
    "OPENAI_API_KEY": "sk-example",
}
# Our services, and what `python -m models check` calls their process.
OURS = {
    "release": "release",
    "keys": "release",
    "edge": "edge",
    "worker-agents": "worker",
    "worker-jobs": "worker",
    "scheduler": "scheduler",
}
LIMITS = ("mem_limit", "pids_limit", "healthcheck", "user")
PUBLISHED = ("edge", "storage")  # what clients reach, through a proxy
INTO = "files"  # the network that leads to the storage only
KEYS = "keys"  # the volume with the signing keys
KEY_USERS = {"keys": f"{KEYS}:/var/lib/longshore", "edge": f"{KEYS}:/var/lib/longshore:ro"}


class Unset(Exception):
    """A variable that the file insists on is not set."""


def find(root: Path) -> list[str]:
    compose = yaml.safe_load((root / "docker-compose.yml").read_text())
    environment = env_file.values(env_file.fresh(root)) | COMPLETED
    return [
        *rights(compose),
        *networks(compose),
        *keys(compose),
        *dockerfile((root / "Dockerfile").read_text()),
        *defaults(compose),
        *settings(interpolated(compose, environment)),
    ]


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    """The file with its ${VARIABLES} replaced, as compose does it. Raises Unset."""
    if isinstance(value, dict):
        return {name: interpolated(item, environment) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, environment) for item in value]
    return VARIABLE.sub(lambda match: _value(match, environment), value) if isinstance(value, str) else value


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    name, operator, text = match.groups()
    if found := environment.get(name):
        return found
    if operator == ":?":
        raise Unset(name)
    return text or ""


def rights(compose: Any) -> Iterator[str]:
    """Every container: read-only, no capabilities, no new privileges, not root, limited, and from a pinned image."""
    for name, service in compose["services"].items():
        if service.get("read_only") is not True:
            yield f"{name} may write to its file system"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add") or service.get("privileged"):
            yield f"{name} has capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", ()):
            yield f"{name} may gain privileges"
        if str(service.get("user", "0")).split(":")[0] in ("0", "root"):
            yield f"{name} runs as root"
        yield from (f"{name} has no {key}" for key in LIMITS if key not in service)
        if "max-size" not in service.get("logging", {}).get("options", {}):
            yield f"{name} may fill the disk with its log"
        yield from (
            f"{name} uses {image}, which is not pinned" for image in _images(service) if not DIGEST.search(image)
        )


def _images(service: Any) -> list[str]:
    inline = service["build"].get("dockerfile_inline", "") if isinstance(service.get("build"), dict) else ""
    return [*filter(None, [service.get("image")]), *re.findall(r"^FROM (\S+)", inline, re.MULTILINE)]


def networks(compose: Any) -> Iterator[str]:
    """Only the edge and the storage are published, on this machine; the parts are on networks that lead nowhere."""
    internal = {
        name for name, network in compose["networks"].items() if (network or {}).get("internal") or name == INTO
    }
    for name, service in compose["services"].items():
        ports = service.get("ports", [])
        if ports and (name not in PUBLISHED or not all(str(port).startswith("127.0.0.1:") for port in ports)):
            yield f"{name} is published"
        if not service.get("networks"):
            yield f"{name} is on the default network"
        if name not in OURS and set(service.get("networks", ())) - internal:
            yield f"{name} is on a network that leads outside"


def keys(compose: Any) -> Iterator[str]:
    """One service makes the signing keys, the edge reads them, and no other has them."""
    for name, service in compose["services"].items():
        mounts = [volume for volume in service.get("volumes", ()) if str(volume).startswith(f"{KEYS}:")]
        if mounts != ([KEY_USERS[name]] if name in KEY_USERS else []):
            yield f"{name} has the wrong access to the signing keys"


def dockerfile(text: str) -> Iterator[str]:
    """The image is built from a pinned one, from locked packages only, and does not run as root."""
    yield from (
        f"the Dockerfile uses {image}, which is not pinned" for image in _bases(text) if not DIGEST.search(image)
    )
    if re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1:] != ["10001:10001"]:
        yield "the Dockerfile runs as root"
    installs = [line for line in text.splitlines() if "pip install" in line]
    yield from (
        f"the Dockerfile installs without hashes: {line}" for line in installs if "--require-hashes" not in line
    )


def _bases(text: str) -> list[str]:
    return re.findall(r"^FROM (\S+)", text, re.MULTILINE)


def defaults(compose: Any) -> Iterator[str]:
    """No service starts without an environment file, and no secret has a default."""
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET_KEY$|SECRET_ACCESS|TOKEN|REDISCLI|_URL$", variable) and not re.search(
                r":\?|:-\}$", str(value)
            ):
                yield f"{name}: {variable} has a default"
        try:
            interpolated(service, {})
        except Unset:
            continue
        yield f"{name} starts without an environment file"


def settings(compose: Any) -> Iterator[str]:
    """What our processes would refuse, in production as composed and in development as `./dev` starts it."""
    development = {"ENVIRONMENT": "development", "SECRET_KEY": "any"}
    for name, process in OURS.items():
        yield from (f"{name}: {line}" for line in _refusals(process, compose["services"][name]["environment"]))
        yield from (f"{name}, in development: {line}" for line in _refusals(process, development))


def _refusals(process: str, environment: Mapping[str, str]) -> list[str]:
    with mock.patch.dict(os.environ, environment, clear=True):
        return startup_checks.problems(read(), [process])
