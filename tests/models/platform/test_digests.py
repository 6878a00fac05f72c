"""Keyed digests and the rotation of SECRET_KEY."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.platform import digests
from models.platform.digests import is_hex_digest, keyed_digest, keyed_hex_digest, lasting_hex_digest
from models.platform.settings import settings


def test_a_digest_is_an_hmac_under_a_key_that_is_derived_for_its_purpose():
    root = settings.secret_key.get_secret_value().encode()
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"refresh-token").derive(root)
    assert keyed_digest("refresh-token", "abc") == hmac.digest(key, b"abc", hashlib.sha256)
    assert keyed_hex_digest("refresh-token", b"abc") == keyed_digest("refresh-token", "abc").hex()


def test_equal_data_has_different_digests_for_different_purposes_and_keys(configure):
    made = {
        keyed_digest("refresh-token", "abc"),
        keyed_digest("email-token", "abc"),
        keyed_digest("email", "-tokenabc"),
    }
    configure(secret_key="another secret")
    assert len(made | {keyed_digest("refresh-token", "abc")}) == 4


def test_digests_of_previous_keys_are_accepted_until_the_key_is_removed(configure):
    configure(secret_key="first")
    stored = keyed_hex_digest("purpose", "abc")
    configure(secret_key="third", secret_key_previous="second, first")
    assert is_hex_digest(stored, "purpose", "abc") and not is_hex_digest(stored, "purpose", "abd")
    assert keyed_hex_digest("purpose", "abc") != stored
    configure(secret_key_previous="second")
    assert not is_hex_digest(stored, "purpose", "abc")


def test_a_comparison_looks_at_every_key_whichever_matches(configure, monkeypatch):
    configure(secret_key="first", secret_key_previous="second,third")
    compared = []
    monkeypatch.setattr(digests.hmac, "compare_digest", lambda a, b: bool(compared.append(b)) or a == b)
    assert is_hex_digest(keyed_hex_digest("purpose", "abc"), "purpose", "abc")
    assert len(set(compared)) == 3


def test_a_counter_keeps_its_name_through_a_rotation(configure):
    configure(secret_key="old")
    name = lasting_hex_digest("address", "jo@example.com")
    configure(secret_key_previous="new,old")  # on every host, before the first one uses the new key
    assert lasting_hex_digest("address", "jo@example.com") == name
    configure(secret_key="new", secret_key_previous="old")
    assert lasting_hex_digest("address", "jo@example.com") == name


def test_there_is_no_default_key(configure):
    configure(secret_key=None)
    with pytest.raises(digests.NoSecretKey):
        keyed_digest("refresh-token", "abc")
