"""Remembers verified tokens: a client sends the same access token with many requests."""

import hashlib
from typing import TYPE_CHECKING, Any

from models.platform.clock import now

if TYPE_CHECKING:
    from models.auth.signing_keys import Key

MAX_TOKENS = 10_000  # per key set; the oldest is forgotten first


class VerifiedTokens:
    """The claims of the tokens that one key set has verified, by a digest of token and audience.

    A change of the key file makes a new key set with an empty memory. What the caller may do is not remembered here:
    `authority.principal_of` decides that for every request.
    """

    def __init__(self, leeway_seconds: float):
        self.leeway_seconds = leeway_seconds
        self.entries: dict[bytes, tuple[Key, dict[str, Any]]] = {}

    @staticmethod
    def digest(token: str, audience: list[str] | None) -> bytes:
        return hashlib.sha256(f"{audience} {token}".encode(errors="replace")).digest()

    def claims(self, digest: bytes) -> dict[str, Any] | None:
        """A copy of the remembered claims; None for an unknown token, an expired one, or one of an invalid key."""
        key, claims = self.entries.get(digest, (None, None))
        if key is None or claims is None or not key.valid:
            return None
        has_expired = int(claims["exp"]) <= now().timestamp() - self.leeway_seconds
        return None if has_expired else dict(claims)

    def remember(self, digest: bytes, key: "Key", claims: dict[str, Any]) -> None:
        while len(self.entries) >= MAX_TOKENS:
            self.entries.pop(next(iter(self.entries)), None)
        self.entries[digest] = key, dict(claims)
