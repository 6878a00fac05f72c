"""Nonces of signed requests, each of which may be used once. Key `nonce:<SHA-256 of the nonce>` in Redis."""

import hashlib

import redis

from models.platform.errors import Unavailable
from models.platform.redis import fast_redis_client


class NoncesUnavailable(Unavailable):
    code, message = "verifier_unavailable", "The replay of signed requests cannot be ruled out at the moment."


def use(nonce: str, seconds: int) -> bool:
    """Mark the nonce as used for `seconds`. False if it was used already. Raises NoncesUnavailable without Redis."""
    key = f"nonce:{hashlib.sha256(nonce.encode()).hexdigest()}"
    try:
        return bool(fast_redis_client().set(key, 1, nx=True, ex=seconds))
    except redis.RedisError:
        raise NoncesUnavailable() from None
