"""Signing keys and key sets: they sign tokens, verify them, and are published as JWKS. Ed25519 only."""

import hashlib
import json
import secrets
import time
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
from prometheus_client import Histogram

from models.auth.verified_tokens import VerifiedTokens
from models.platform.clock import now
from models.platform.settings import settings

SIGNING_SECONDS = Histogram(
    "jwt_signing_duration_seconds",
    "Time to sign a token.",
    ["result", "token_use"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SIGNING_SECONDS.labels("success", "access")  # exported as 0 before the first one
ACTIVE, NEXT, RETIRED = "active", "next", "retired"
LEEWAY_SECONDS = 30
SERVICE_ACCOUNT_TOKEN_MINUTES = 43_200  # the longest lifetime of a service account's token
DISTRIBUTION_SECONDS = 3600  # a host that gets a rotated file late still signs with the key that was retired


class InvalidToken(Exception):
    """Bad signature, unknown key, expired, not yet valid, wrong issuer or audience."""


@dataclass(frozen=True)
class Key:
    kid: str
    material: Ed25519PrivateKey | Ed25519PublicKey  # the public part only, once the key is retired
    created_at: datetime
    state: str = ACTIVE
    retired_at: datetime | None = None

    @classmethod
    def generate(cls, state: str) -> "Key":
        return cls(f"ed25519-{secrets.token_hex(6)}", Ed25519PrivateKey.generate(), now(), state)

    @classmethod
    def parse(cls, item: dict[str, str], state: str, retired_at: datetime) -> "Key":
        """A key from the key file. `state` and `retired_at` are defaults for files that do not say.

        Raises ValueError or KeyError.
        """
        state = item.get("state", state)
        if state not in (ACTIVE, NEXT, RETIRED):
            raise ValueError(f"key {item['kid']} has the unknown state {state!r}")
        key = cls(str(item["kid"]), _parse_material(item, state), utc(item["created_at"]), state)
        if state != RETIRED:
            return key
        return key.retire(utc(item["retired_at"]) if "retired_at" in item else retired_at)

    def to_json(self) -> dict[str, str]:
        """The key as the key file holds it."""
        item = {"kid": self.kid, "state": self.state, "created_at": self.created_at.isoformat()}
        if self.retired_at:
            public = self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            return item | {"retired_at": self.retired_at.isoformat(), "public_key": public}
        private = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return item | {"private_key": private}

    def retire(self, moment: datetime) -> "Key":
        """A copy without the private part."""
        return replace(self, material=self.public, state=RETIRED, retired_at=moment)

    @property
    def private(self) -> Ed25519PrivateKey:
        """Raises ValueError for a retired key: it has no private part."""
        if not isinstance(self.material, Ed25519PrivateKey):
            raise ValueError(f"key {self.kid} has no private part")
        return self.material

    @cached_property
    def public(self) -> Ed25519PublicKey:
        return self.material.public_key() if isinstance(self.material, Ed25519PrivateKey) else self.material

    @cached_property
    def jwk(self) -> dict[str, str]:
        """The public part in JSON Web Key format."""
        x = jwt.algorithms.OKPAlgorithm.to_jwk(self.public, as_dict=True)["x"]
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x, "use": "sig", "alg": "EdDSA"}

    @property
    def valid_until(self) -> datetime | None:
        """The time by which the last token signed by a retired key has expired; None if the key is not retired."""
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
    """The active key signs. All keys verify and are published, except retired ones past `valid_until`.

    `reload` is called when a token names a key that is not in the set, and returns the newest set.
    """

    def __init__(
        self, keys: list[Key], changed_at: datetime | None = None, *, reload: "Callable[[], KeySet] | None" = None
    ):
        self.keys, self.changed_at, self.reload = keys, changed_at, reload
        self.by_kid = {key.kid: key for key in keys}
        self.active = next(key for key in keys if key.state == ACTIVE)
        self.verified = VerifiedTokens(LEEWAY_SECONDS)

    @property
    def last_modified(self) -> datetime:
        """The last time at which the published keys changed: a file change, or the end of a retired key's validity."""
        moments = [self.changed_at]
        for key in self.keys:
            moments += [key.created_at, key.retired_at, key.valid_until]
        current = now()
        return max((moment for moment in moments if moment and moment <= current), default=current)

    @property
    def etag(self) -> str:
        return hashlib.sha256(json.dumps(self.jwks(), sort_keys=True).encode()).hexdigest()

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The published keys as a JSON Web Key Set."""
        return {"keys": [key.jwk for key in self.keys if key.valid]}

    def sign(self, claims: dict[str, Any]) -> str:
        began = time.perf_counter()
        token = jwt.encode(claims, self.active.private, algorithm="EdDSA", headers={"kid": self.active.kid})
        SIGNING_SECONDS.labels("success", str(claims.get("token_use"))).observe(time.perf_counter() - began)
        return token

    def find(self, kid: str) -> Key | None:
        """The key with this id, if it is still valid."""
        key = self.by_kid.get(kid)
        return key if key and key.valid else None

    def verify(self, token: str, *, audience: list[str] | None = None, check_expiry: bool = True) -> dict[str, Any]:
        """The claims of a token that one of these keys signed. Raises InvalidToken."""
        if not check_expiry:
            return self._verify(token, audience, check_expiry=False)[1]
        digest = VerifiedTokens.digest(token, audience)
        if claims := self.verified.claims(digest):
            return claims
        key, claims = self._verify(token, audience, check_expiry=True)
        if self.by_kid.get(key.kid) is key:  # a key found by reloading belongs to another set
            self.verified.remember(digest, key, claims)
        return claims

    def _verify(self, token: str, audience: list[str] | None, *, check_expiry: bool) -> tuple[Key, dict[str, Any]]:
        options: jwt.types.Options = {
            "verify_aud": audience is not None,
            "verify_exp": check_expiry,
            "require": ["exp", "iat", "sub"],
        }
        try:
            key = self._find_or_reload(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.public,
                algorithms=["EdDSA"],
                audience=audience,
                issuer=settings.app_name,
                leeway=LEEWAY_SECONDS,
                options=options,
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken(type(error).__name__) from None
        return key, claims

    def _find_or_reload(self, kid: object) -> Key:
        key = self.find(str(kid))
        if key is None and self.reload:
            key = self.reload().find(str(kid))
        if key is None:
            raise InvalidToken("unknown key")
        return key


def _parse_material(item: dict[str, str], state: str) -> Ed25519PrivateKey | Ed25519PublicKey:
    material: object
    if "private_key" in item:
        material = load_pem_private_key(item["private_key"].encode(), password=None)
    else:
        material = load_pem_public_key(item["public_key"].encode())
    if isinstance(material, Ed25519PrivateKey):
        return material
    if isinstance(material, Ed25519PublicKey) and state == RETIRED:
        return material
    raise ValueError(f"key {item['kid']} is not an Ed25519 key, or lacks its private part")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
