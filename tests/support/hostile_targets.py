"""Targets of webhooks that are refused, and a resolver of names that answers as it is told."""

import ipaddress
import socket

# URLs whose text is refused, when they are saved and when they are used.
HOSTILE = [
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://x.localhost/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.0x1/",
    "https://127.0.0.01/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:53aa:64c:0:0:80ff:fffe]/",
    "https://[2001:db8::1]/",
    "https://①②⑦.⓪.⓪.①/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://127。0。0。1/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com:22/",
    "https://example.com:6379/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:80/",
    "https://redis/",
    "https://postgres.internal/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://1.0.0.127.in-addr.arpa/",
    "https://exa mple.com/",
    "https://example.com/\r\nX-Evil: 1",
    "https://exa\tmple.com/",
    "https://%31%32%37.0.0.1/",
    "https://-x.example.com/",
    "https://x..example.com/",
    "https://example.com./",
    "https:///path",
    "https:example.com",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "",
    "https://" + "a" * 64 + ".example.com/",
    "https://" + "a." * 130 + "com/",
]
# Addresses to which a name may lead: they are refused whenever it is resolved.
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.20.0.5",
    "192.168.0.10",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.19.255.255",
    "224.0.0.251",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "fe80::1%1",
    "fd12:3456::1",
    "ff02::1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "2001::1",
]


def resolve(monkeypatch, *answers):
    """What each further lookup of a name answers: addresses, or an exception; the last one for ever.

    Returns the list of the names that are looked up. Addresses are not names: they lead to themselves.
    """
    real, asked, left = socket.getaddrinfo, [], list(answers)

    def lookup(host, port, *args, **more):
        try:
            ipaddress.ip_address(host)
            return real(host, port, *args, **more)
        except ValueError:
            asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


def count_connections(monkeypatch):
    """The list of the addresses that a connection is opened to. None of them answers."""
    found = []

    def connect(address, timeout):
        found.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    return found
