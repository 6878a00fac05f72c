"""The client's address behind trusted proxies."""

import falcon.testing
import pytest

from edge.middleware import Proxies


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("198.51.100.1", "203.0.113.7", "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.66, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.66, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.66, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, ::ffff:10.0.0.2", "203.0.113.7"),
    ],
)
def test_the_last_untrusted_address_is_the_client(peer, forwarded_for, address):
    headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}
    req = falcon.testing.create_req(remote_addr=peer, headers=headers)
    assert Proxies(["10.0.0.0/8", "::1"]).client_of(req) == address


def test_without_trusted_proxies_the_peer_is_the_client():
    req = falcon.testing.create_req(remote_addr="10.0.0.1", headers={"X-Forwarded-For": "203.0.113.7"})
    assert Proxies([]).client_of(req) == "10.0.0.1"
