"""Keyed digests."""

import hashlib
import hmac

from models.platform.digests import keyed_digest, keyed_hex_digest
from models.platform.settings import settings


def test_a_digest_is_an_hmac_of_purpose_and_data():
    key = settings.secret_key.get_secret_value().encode()
    assert keyed_digest("refresh-token", "abc") == hmac.digest(key, b"refresh-token\0abc", hashlib.sha256)
    assert keyed_hex_digest("refresh-token", b"abc") == keyed_digest("refresh-token", "abc").hex()


def test_equal_data_has_different_digests_for_different_purposes_and_keys(configure):
    digests = {
        keyed_digest("refresh-token", "abc"),
        keyed_digest("email-token", "abc"),
        keyed_digest("email", "-tokenabc"),
    }
    configure(secret_key="another secret")
    assert len(digests | {keyed_digest("refresh-token", "abc")}) == 4
