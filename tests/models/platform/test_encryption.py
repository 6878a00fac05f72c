"""Encryption of what the database keeps."""

import pytest
from pydantic import SecretStr

from models.platform.encryption import CannotDecrypt, decrypt, encrypt, renewed

OLD, NEW = SecretStr("a" * 64), SecretStr("b" * 64)


def test_what_is_encrypted_can_be_read_for_the_same_purpose_only(configure):
    configure(secret_key=OLD)
    token = encrypt("a", "whsec_ü")
    assert token.isascii() and "whsec" not in token and token != encrypt("a", "whsec_ü")
    assert decrypt("a", token) == "whsec_ü"
    with pytest.raises(CannotDecrypt):
        decrypt("b", token)


def test_a_former_key_still_reads_until_it_is_forgotten(configure):
    configure(secret_key=OLD)
    token = encrypt("a", "text")
    configure(secret_key=NEW, secret_key_previous=OLD)
    assert decrypt("a", token) == "text"
    configure(secret_key_previous=None)
    with pytest.raises(CannotDecrypt):
        decrypt("a", token)


def test_only_what_a_former_key_has_encrypted_is_renewed(configure):
    configure(secret_key=OLD)
    token = encrypt("a", "text")
    assert renewed("a", token) is None
    configure(secret_key=NEW, secret_key_previous=OLD)
    fresh = renewed("a", token)
    configure(secret_key_previous=None)
    assert decrypt("a", fresh) == "text"
    with pytest.raises(CannotDecrypt):
        renewed("a", token)


@pytest.mark.parametrize("token", ["", "x", "gAAAA", "ä"])
def test_what_was_not_encrypted_here(configure, token):
    configure(secret_key=OLD)
    with pytest.raises(CannotDecrypt):
        decrypt("a", token)
