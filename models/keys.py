"""The Ed25519 keys that sign tokens: one active, perhaps a next, and retired ones that still verify."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from models.settings import settings

LEEWAY_SECONDS = 30


class TokenInvalid(Exception):
    """Bad signature, unknown key, expired, not yet valid, wrong issuer or audience."""


@dataclass(frozen=True)
class Key:
    kid: str
    private: Ed25519PrivateKey
    created_at: datetime

    def jwk(self) -> dict[str, str]:
        public = jwt.algorithms.OKPAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": public["x"], "use": "sig", "alg": "EdDSA"}


class KeySet:
    """The first key signs; all of them verify."""

    def __init__(self, keys: list[Key]):
        self.keys = keys
        self.by_kid = {key.kid: key.private.public_key() for key in keys}

    @property
    def active(self) -> Key:
        return self.keys[0]

    @property
    def last_modified(self) -> datetime:
        return max(key.created_at for key in self.keys)

    @cached_property
    def etag(self) -> str:
        return hashlib.sha256(json.dumps(self.jwks(), sort_keys=True).encode()).hexdigest()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        return {"keys": [key.jwk() for key in self.keys]}

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.active.private, algorithm="EdDSA", headers={"kid": self.active.kid})

    def verify(self, token: str, *, audience: list[str] | None = None, check_expiry: bool = True) -> dict[str, Any]:
        """The claims of a token that one of these keys signed. TokenInvalid for anything else."""
        try:
            public = self.by_kid.get(jwt.get_unverified_header(token).get("kid"))
            if public is None:
                raise TokenInvalid("unknown key")
            return jwt.decode(
                token,
                public,
                algorithms=["EdDSA"],
                audience=audience,
                issuer=settings.app_name,
                leeway=LEEWAY_SECONDS,
                options={
                    "verify_aud": audience is not None,
                    "verify_exp": check_expiry,
                    "require": ["exp", "iat", "sub"],
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenInvalid(type(error).__name__) from None


@cache
def keyset() -> KeySet:
    return load(Path(settings.auth_key_storage_path))


def load(path: Path) -> KeySet:
    if not path.exists():
        if settings.hardened:
            raise SystemExit(
                f"No signing key at {path}: create one with `python -m models.keys`, or set AUTH_KEY_STORAGE_PATH."
            )
        create(path)
    document = json.loads(path.read_text())
    return KeySet([_parse(item) for item in document["keys"]])


def create(path: Path) -> None:
    """Write a key set with one fresh key, readable by its owner alone. Of two processes at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = {"kid": f"ed25519-{secrets.token_hex(6)}", "private_key": pem, "created_at": datetime.now(UTC).isoformat()}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"schema_version": 1, "keys": [key]}, indent=2))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _parse(item: dict[str, str]) -> Key:
    private = load_pem_private_key(item["private_key"].encode(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise SystemExit(f"Key {item['kid']} is not an Ed25519 key.")
    return Key(item["kid"], private, datetime.fromisoformat(item["created_at"]))


if __name__ == "__main__":
    target = Path(settings.auth_key_storage_path)
    if not target.exists():
        create(target)
    print(f"Signing key: {target}")
