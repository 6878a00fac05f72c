"""Webhooks to strangers: what is sent, and to whom it never is."""

import base64
import hashlib
import hmac
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest

from models.platform.public_urls import NotPublic, check, masked
from tests.support.hostile_targets import HOSTILE, PRIVATE, count_connections, resolve
from tests.support.receiver import Receiver
from workers.gateways import webhooks
from workers.gateways.webhooks import DeliveryFailed, Message, TargetRefused, send

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message("msg_1", b'{"type":"test"}')
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]


@pytest.fixture
def names(monkeypatch):
    """names(*answers): see `resolve`."""
    return lambda *answers: resolve(monkeypatch, *answers)


@pytest.fixture
def dialled(monkeypatch):
    return count_connections(monkeypatch)


@pytest.fixture
def receiver(configure):
    found = Receiver()
    configure(webhook_trusted_hosts=f"{found.host}, hook.example.com:{found.port}")
    yield found
    found.stop()


def post(url, **more):
    return send(url, more.get("message", MESSAGE), [SECRET], 1_614_265_330)


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_targets_are_refused_when_they_are_saved_and_when_they_are_used(url, names, dialled):
    names(["93.184.216.34"])
    with pytest.raises(NotPublic) as error:
        check(url)
    assert error.value.reason.endswith(".")
    with pytest.raises(TargetRefused):
        post(url)
    assert dialled == []


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("others", [[], PUBLIC])
def test_a_name_with_an_address_that_is_not_public_is_refused(address, others, names, dialled):
    names([*others, address])
    with pytest.raises(TargetRefused, match="not public"):
        post("https://hook.example.com/")
    assert dialled == []


def test_a_name_that_changes_its_mind_leads_where_it_led_when_it_was_checked(names, dialled):
    asked = names(PUBLIC, ["127.0.0.1"])
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        post("https://hook.example.com/")
    assert (asked, dialled) == (["hook.example.com"], PUBLIC)
    with pytest.raises(TargetRefused):
        post("https://hook.example.com/")


def test_few_of_many_addresses_are_tried(names, dialled):
    names([f"93.184.216.{number}" for number in range(1, 100)])
    with pytest.raises(DeliveryFailed):
        post("https://hook.example.com/")
    assert len(dialled) == 3


@pytest.mark.parametrize("error", [socket.gaierror("unknown"), UnicodeError("label too long"), OSError("away")])
def test_a_name_that_cannot_be_resolved_is_tried_again_later(names, error):
    names(error)
    with pytest.raises(DeliveryFailed, match="resolved"):
        post("https://hook.example.com/")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "https://hook.example.com/x//y",
        "https://xn--bcher-kva.example/",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1::1]/",
        "http://example.com/",
    ],
)
def test_public_targets(url):
    assert check(url).trusted is False


def test_production_takes_https_only(configure):
    configure(environment="production", webhook_trusted_hosts="127.0.0.1:9000")
    for url in ("http://example.com/", "http://127.0.0.1:9000/"):
        with pytest.raises(NotPublic, match="https"):
            check(url)
    assert check("https://127.0.0.1:9000/").trusted


def test_a_trusted_host_is_trusted_at_its_port_only(configure):
    configure(webhook_trusted_hosts="127.0.0.1:9000", private_hosts="redis,127.0.0.1")
    assert check("http://127.0.0.1:9000/x").trusted
    for url in ("http://127.0.0.1:9001/", "http://127.0.0.1/", "https://redis/", "http://127.0.0.2:9000/"):
        with pytest.raises(NotPublic):
            check(url)


def test_what_is_sent(receiver):
    assert post(f"http://{receiver.host}/hook?a=b") == 204
    [(path, headers, body)] = receiver.got
    assert (path, body) == ("/hook?a=b", MESSAGE.body)
    assert headers["Content-Type"] == "application/json" and headers["Host"] == receiver.host
    assert headers["webhook-id"] == "msg_1" and headers["webhook-timestamp"] == "1614265330"
    key = base64.b64decode(SECRET[6:])
    expected = base64.b64encode(hmac.new(key, b"msg_1.1614265330." + body, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_of_the_specifications_example():
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    headers = webhooks.signed(message, [SECRET], 1_614_265_330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_during_a_rotation_both_secrets_sign():
    other = "whsec_" + base64.b64encode(b"x" * 24).decode()
    one, two = (webhooks.signed(MESSAGE, [secret], 1)["webhook-signature"] for secret in (SECRET, other))
    assert webhooks.signed(MESSAGE, [SECRET, other], 1)["webhook-signature"] == f"{one} {two}"


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503])
def test_answers_that_are_no_success(receiver, status):
    receiver.answers, receiver.headers = [status], {"Location": f"http://{receiver.host}/elsewhere"}
    with pytest.raises(DeliveryFailed) as error:
        post(f"http://{receiver.host}/")
    assert error.value.status == status
    assert len(receiver.got) == 1, "a redirect is not followed"


def test_a_receiver_that_speaks_slowly_is_broken_off(receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "LONGEST_SECONDS", 0.5)
    receiver.drip = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000
    began = time.monotonic()
    with pytest.raises(DeliveryFailed, match="in time"):
        post(f"http://{receiver.host}/")
    assert time.monotonic() - began < 10


def test_a_receiver_that_says_nothing_is_broken_off(receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.2)
    receiver.drip = [72]
    with pytest.raises(DeliveryFailed):
        post(f"http://{receiver.host}/")


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"\0"])
def test_answers_that_are_not_http(receiver, monkeypatch, answer):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    receiver.drip = answer
    with pytest.raises(DeliveryFailed, match="properly"):
        post(f"http://{receiver.host}/")


def test_a_receiver_that_is_away():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        from models.platform.settings import settings

        with settings.override(webhook_trusted_hosts=host), pytest.raises(DeliveryFailed, match="reached"):
            post(f"http://{host}/")


def test_a_message_that_is_too_large_is_not_sent(receiver):
    with pytest.raises(ValueError, match="too large"):
        post(f"http://{receiver.host}/", message=Message("msg_1", b"x" * 300_000))
    assert receiver.got == []


def certificate(name, folder):
    """(context of a server with a certificate for this name, file of the authority that vouches for it)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, subject = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = built.sign(key, hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, folder / "cert.pem"


@pytest.mark.parametrize(("name", "works"), [("hook.example.com", True), ("other.example.com", False)])
def test_the_certificate_must_be_that_of_the_name_though_the_connection_goes_to_an_address(
    tmp_path, monkeypatch, configure, names, name, works
):
    server, authority = certificate(name, tmp_path)
    receiver = Receiver(tls=server)
    configure(webhook_trusted_hosts=f"hook.example.com:{receiver.port}")
    names(["127.0.0.1"])
    monkeypatch.setattr(webhooks, "_tls", lambda: ssl.create_default_context(cafile=authority))
    try:
        if works:
            assert post(f"https://hook.example.com:{receiver.port}/x") == 204
            assert receiver.got[0][1]["Host"] == f"hook.example.com:{receiver.port}"
        else:
            with pytest.raises(DeliveryFailed, match="certificate"):
                post(f"https://hook.example.com:{receiver.port}/x")
            assert receiver.got == []
    finally:
        receiver.stop()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, configure, names):
    server, _ = certificate("hook.example.com", tmp_path)
    receiver = Receiver(tls=server)
    configure(webhook_trusted_hosts=f"hook.example.com:{receiver.port}")
    names(["127.0.0.1"])
    with pytest.raises(DeliveryFailed, match="certificate"):
        post(f"https://hook.example.com:{receiver.port}/")
    receiver.stop()


def test_logs_get_no_path():
    assert masked("https://hook.example.com:8443/secret?x=1") == "https://hook.example.com:8443/…"
    assert masked(None) is None
