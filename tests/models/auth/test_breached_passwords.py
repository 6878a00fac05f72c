"""Passwords known from breaches: the list and its builder, and the service."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from models.auth import breached_passwords, breached_range, passwords
from models.auth.breached_passwords import BreachList, BreachListInvalid
from models.commands import main
from tests.support.accounts import CHEAP_HASHER, NEW

OTHERS = [f"password number {number}" for number in range(500)]


def sha1(password):
    return hashlib.sha1(password.encode()).hexdigest().upper()


def download(known, counts=None):
    """The lines of a download, in the order of the hashes."""
    return sorted(f"{sha1(password)}:{(counts or {}).get(password, 3)}\n" for password in known)


@pytest.fixture
def listed(tmp_path, configure):
    """listed(passwords) -> the list that this process uses from now on."""

    def build(known):
        path = tmp_path / "breached.bin"
        breached_passwords.build(download(known), path)
        configure(breach_list_path=str(path))
        return path

    yield build
    breached_passwords._open.cache_clear()


# ---------------------------------------------------------------- the list


def test_a_list_knows_its_passwords_and_no_others(listed):
    path = listed(OTHERS)
    assert path.stat().st_size == len(breached_passwords.MAGIC) + breached_passwords.WIDTH * len(OTHERS)
    assert all(breached_passwords.is_breached(password) for password in OTHERS)
    assert not any(breached_passwords.is_breached(f"{password}!") for password in OTHERS)


def test_an_empty_list_knows_nothing(listed):
    listed([])
    assert not breached_passwords.is_breached(NEW)


def test_a_listed_password_is_refused(listed):
    listed([NEW, *OTHERS])
    with pytest.raises(passwords.PasswordBreached):
        passwords.choose_password(NEW, "jo@example.com", hasher=CHEAP_HASHER)
    assert passwords.choose_password(f"{NEW} 2", "jo@example.com", hasher=CHEAP_HASHER)


def test_a_password_that_is_no_unicode_text_is_looked_up_all_the_same(listed):
    listed(OTHERS)
    assert not breached_passwords.is_breached("a lone surrogate \ud800")


def test_the_command_builds_a_list_of_what_was_seen_often_enough(tmp_path, capsys):
    source, target = tmp_path / "download.txt", tmp_path / "breached.bin"
    source.write_text("".join(download(OTHERS, {OTHERS[0]: 1})))
    arguments = ["breached-passwords", "build", str(source), "--output", str(target), "--minimum-count", "2"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{target}: 499 passwords, {target.stat().st_size:,} bytes\n"
    assert len(BreachList(target)) == 499


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (lambda lines: lines[::-1], "line 2: the lines are not in the order of their hashes"),
        (lambda lines: [*lines, "nonsense\n"], "line 501 is not of the form SHA1:COUNT"),
        (lambda lines: [lines[0].replace(":3", ":x")], "line 1 is not of the form SHA1:COUNT"),
        (lambda lines: [lines[0][8:]], "line 1 is not of the form SHA1:COUNT"),
        (lambda lines: ["z" * 40], "line 1 is not of the form SHA1:COUNT"),
    ],
)
def test_a_download_that_cannot_be_used_leaves_the_old_list_alone(tmp_path, lines, problem, capsys):
    source, target = tmp_path / "download.txt", tmp_path / "breached.bin"
    target.write_bytes(b"the old list")
    source.write_text("".join(lines(download(OTHERS))))
    assert main(["breached-passwords", "build", str(source), "--output", str(target)]) == 2
    assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path != source] == ["breached.bin"]
    assert target.read_bytes() == b"the old list"


@pytest.mark.parametrize("content", [None, b"", b"something else", breached_passwords.MAGIC + b"1234567"])
def test_the_edge_does_not_start_with_a_list_that_it_cannot_read(tmp_path, configure, content):
    from edge.app import create_app

    path = tmp_path / "breached.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BreachListInvalid):
        BreachList(path)
    configure(breach_list_path=str(path))
    with pytest.raises(SystemExit, match="BREACH_LIST_PATH"):
        create_app(hasher=CHEAP_HASHER)


# ---------------------------------------------------------------- the service


class Service(BaseHTTPRequestHandler):
    """A range interface that knows `known`; `status` and `headers` are what it answers with."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Add-Padding"]))
        prefix = self.path.rpartition("/")[2]
        hashes = [sha1(password) for password in self.server.known]
        lines = [f"{text[5:]}:7" for text in hashes if text.startswith(prefix)]
        lines += [f"{sha1(password)[5:]}:0" for password in self.server.padding]
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write("\r\n".join(lines).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def service(configure):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.known, server.padding, server.asked, server.status, server.headers = [NEW], [], [], 200, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configure(breach_service=f"http://127.0.0.1:{server.server_port}/range/")
    yield server
    server.shutdown()
    server.server_close()


def lookups(result):
    return breached_range.LOOKUPS.labels(result)._value.get()


def test_the_service_is_asked_for_five_digits_and_padding(service):
    assert breached_passwords.is_breached(NEW) and not breached_passwords.is_breached(f"{NEW} 2")
    assert service.asked == [(f"/range/{sha1(password)[:5]}", "true") for password in (NEW, f"{NEW} 2")]


def test_padding_is_not_taken_for_a_password(service):
    service.known, service.padding = [], [NEW]
    assert not breached_passwords.is_breached(NEW)


def test_the_service_is_not_asked_for_a_listed_password(service, listed):
    listed([NEW])
    assert breached_passwords.is_breached(NEW) and service.asked == []


@pytest.mark.parametrize("flaw", ["away", "error", "redirect", "too long"])
def test_a_service_that_does_not_answer_refuses_nothing_unless_it_is_required(service, configure, flaw, monkeypatch):
    if flaw == "away":
        configure(breach_service="http://127.0.0.1:1/range")
    elif flaw == "error":
        service.status = 500
    elif flaw == "redirect":
        service.status, service.headers = 302, {"Location": "/elsewhere"}
    else:
        monkeypatch.setattr(breached_range, "LARGEST_ANSWER", 10)
    before = lookups("unavailable")
    assert not breached_passwords.is_breached(NEW)
    configure(breach_service_required=True)
    with pytest.raises(breached_range.BreachServiceAway):
        breached_passwords.is_breached(NEW)
    assert lookups("unavailable") == before + 2
    assert not [path for path, _ in service.asked if "elsewhere" in path]


@pytest.mark.parametrize("url", ["http://example.com/range/", "ftp://example.com", "file:///etc/passwd", "example.com"])
def test_the_service_must_be_asked_over_tls(configure, url):
    with pytest.raises(ValidationError):
        configure(breach_service=url)
