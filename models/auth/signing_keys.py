"""Signing keys and sets of them: what signs tokens, what verifies them, what the world is told. Ed25519 only."""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from models.platform.clock import now
from models.platform.settings import settings

ACTIVE, NEXT, RETIRED = "active", "next", "retired"
LEEWAY_SECONDS = 30
REMEMBERED_TOKENS = 10_000
SERVICE_ACCOUNT_TOKEN_MINUTES = 43_200  # the longest life of a service account's token
DISTRIBUTION_SECONDS = 3600  # hosts that get a rotated file later go on signing with the key that it retires


class TokenInvalid(Exception):
    """Bad signature, unknown key, expired, not yet valid, wrong issuer or audience."""


@dataclass(frozen=True)
class Key:
    kid: str
    material: Ed25519PrivateKey | Ed25519PublicKey  # public once it is retired
    created_at: datetime
    state: str = ACTIVE
    retired_at: datetime | None = None

    @classmethod
    def fresh(cls, state: str) -> "Key":
        return cls(f"ed25519-{secrets.token_hex(6)}", Ed25519PrivateKey.generate(), now(), state)

    @classmethod
    def parse(cls, item: dict[str, str], state: str, retired_at: datetime) -> "Key":
        """A key as a file holds it; `state` and `retired_at` stand in for what an older file does not say."""
        if "private_key" in item:
            material = load_pem_private_key(item["private_key"].encode(), password=None)
        else:
            material = load_pem_public_key(item["public_key"].encode())
        state = item.get("state", state)
        if state not in (ACTIVE, NEXT, RETIRED):
            raise ValueError(f"key {item['kid']} has the unknown state {state!r}")
        kinds = (Ed25519PrivateKey, Ed25519PublicKey) if state == RETIRED else Ed25519PrivateKey
        if not isinstance(material, kinds):
            raise ValueError(f"key {item['kid']} is not an Ed25519 key, or lacks its private part")
        key = cls(str(item["kid"]), material, utc(item["created_at"]), state)
        return key.retire(utc(item["retired_at"]) if "retired_at" in item else retired_at) if state == RETIRED else key

    def stored(self) -> dict[str, str]:
        item = {"kid": self.kid, "state": self.state, "created_at": self.created_at.isoformat()}
        if self.retired_at:
            public = self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            return item | {"retired_at": self.retired_at.isoformat(), "public_key": public}
        private = self.material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return item | {"private_key": private}

    def retire(self, moment: datetime) -> "Key":
        """The same key without its private part."""
        return replace(self, material=self.public, state=RETIRED, retired_at=moment)

    @cached_property
    def public(self) -> Ed25519PublicKey:
        return self.material.public_key() if isinstance(self.material, Ed25519PrivateKey) else self.material

    @cached_property
    def jwk(self) -> dict[str, str]:
        x = jwt.algorithms.OKPAlgorithm.to_jwk(self.public, as_dict=True)["x"]
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x, "use": "sig", "alg": "EdDSA"}

    @property
    def valid_until(self) -> datetime | None:
        """When the last token that a retired key can have signed has expired. None for the others."""
        if self.retired_at is None:
            return None
        longest = max(
            settings.access_token_expire_minutes,
            settings.auth_refresh_token_ttl_minutes,
            SERVICE_ACCOUNT_TOKEN_MINUTES,
        )
        return self.retired_at + timedelta(minutes=longest, seconds=DISTRIBUTION_SECONDS + LEEWAY_SECONDS)

    @property
    def valid(self) -> bool:
        return self.valid_until is None or now() < self.valid_until


class KeySet:
    """The active key signs. All verify and are published, save retired ones whose time is over."""

    def __init__(self, keys: list[Key], changed_at: datetime | None = None):
        self.keys, self.changed_at = keys, changed_at
        self.by_kid = {key.kid: key for key in keys}
        self.active = next(key for key in keys if key.state == ACTIVE)
        self.newest: Callable[[], KeySet] = lambda: self  # asked when a token names a key that is not here
        # Digest of a token -> its key and claims, once verified here. Whether its session is alive is asked every time;
        # a change of the keys makes another set, which knows nothing of these.
        self.verified: dict[bytes, tuple[Key, dict[str, Any]]] = {}

    @property
    def last_modified(self) -> datetime:
        """The newest creation, retirement, revocation, or end of a retired key's time."""
        moments = [self.changed_at]
        for key in self.keys:
            moments += [key.created_at, key.retired_at, key.valid_until]
        current = now()
        return max((moment for moment in moments if moment and moment <= current), default=current)

    @property
    def etag(self) -> str:
        return hashlib.sha256(json.dumps(self.jwks(), sort_keys=True).encode()).hexdigest()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        return {"keys": [key.jwk for key in self.keys if key.valid]}

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.active.material, algorithm="EdDSA", headers={"kid": self.active.kid})

    def find(self, kid: str | None) -> Key | None:
        key = self.by_kid.get(kid)
        return key if key and key.valid else None

    def verify(self, token: str, *, audience: list[str] | None = None, check_expiry: bool = True) -> dict[str, Any]:
        """The claims of a token that one of these keys signed. TokenInvalid for anything else."""
        digest = hashlib.sha256(f"{audience} {check_expiry} {token}".encode(errors="replace")).digest()
        if claims := self._known(digest):
            return claims
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self.find(kid) or self.newest().find(kid)
            if key is None:
                raise TokenInvalid("unknown key")
            claims = jwt.decode(
                token,
                key.public,
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
        if check_expiry and self.by_kid.get(kid) is key:
            self._remember(digest, key, claims)
        return claims

    def _known(self, digest: bytes) -> dict[str, Any] | None:
        """What was verified before, and what time alone can have changed since."""
        key, claims = self.verified.get(digest, (None, None))
        if key is None or not key.valid or int(claims["exp"]) <= now().timestamp() - LEEWAY_SECONDS:
            return None
        return dict(claims)

    def _remember(self, digest: bytes, key: Key, claims: dict[str, Any]) -> None:
        while len(self.verified) >= REMEMBERED_TOKENS:
            self.verified.pop(next(iter(self.verified)), None)  # the oldest
        self.verified[digest] = key, dict(claims)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
