"""Helpers for tests of the signing keys. Import it in tests only: it imports models, which read the settings."""

import json
import time

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models.auth.key_file import read
from models.auth.signing_keys import ACTIVE, NEXT, RETIRED, KeySet
from models.platform.settings import settings


def token(key_or_set, lifetime=600, **claims):
    signer = key_or_set if isinstance(key_or_set, KeySet) else KeySet([key_or_set])
    moment = int(time.time())
    claims = {"sub": "user:x", "iss": settings.app_name, "iat": moment, "exp": moment + lifetime} | claims
    return signer.sign({name: value for name, value in claims.items() if value is not None})


def by_state(path):
    """{state: [keys]}"""
    keys = {ACTIVE: [], NEXT: [], RETIRED: []}
    for key in read(path).keys:
        keys[key.state].append(key)
    return keys


def pem(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def old_item(name, private=None):
    """A key as the file had it before keys had states."""
    return {
        "kid": name,
        "private_key": pem(private or Ed25519PrivateKey.generate()),
        "created_at": "2026-01-02T03:04:05+00:00",
    }


def kids_in(states):
    return {key.kid for keys in states.values() for key in keys}


# Contents of a key file that no process accepts; None: there is no file.
BROKEN = {
    "not JSON": b'{"schema_version": 1, "ke',
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "no keys": b'{"schema_version": 1, "keys": []}',
    "another version": json.dumps({"schema_version": 2, "keys": [old_item("a")]}).encode(),
    "twice the same kid": json.dumps({"schema_version": 1, "keys": [old_item("a"), old_item("a")]}).encode(),
    "two active": json.dumps(
        {"schema_version": 1, "keys": [old_item("a") | {"state": ACTIVE}, old_item("b") | {"state": ACTIVE}]}
    ).encode(),
    "an unknown state": json.dumps({"schema_version": 1, "keys": [old_item("a") | {"state": "other"}]}).encode(),
    "no date": json.dumps({"schema_version": 1, "keys": [old_item("a") | {"created_at": None}]}).encode(),
    "another kind of key": json.dumps(
        {"schema_version": 1, "keys": [old_item("a", generate_private_key(SECP256R1()))]}
    ).encode(),
    "missing": None,
}
