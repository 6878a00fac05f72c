"""Safe by default: no mail and no password leaves this machine in clear text."""

import contextlib
import socket
import ssl
import threading

import pytest


@pytest.fixture
def elsewhere(monkeypatch):
    """elsewhere(port): every host name leads to this port of this machine, as if another machine were there."""
    connect = socket.create_connection

    def redirect(port):
        monkeypatch.setattr(
            socket, "create_connection", lambda address, *more, **named: connect(("127.0.0.1", port), *more, **named)
        )

    return redirect


@pytest.mark.parametrize("environment", ["production", "development"])
def test_a_server_without_starttls_gets_neither_a_mail_nor_a_password(mailbox, elsewhere, configure, environment):
    from workers.gateways import smtp

    elsewhere(mailbox.port)
    configure(environment=environment, smtp_url=f"smtp://user:password-of-ours@mail.example.com:{mailbox.port}")
    with pytest.raises(smtp.MailNotEncrypted, match="STARTTLS"), smtp.connection() as server:
        server.sendmail("us@example.com", "jo@example.com", "Subject: hello")
    assert mailbox.mails == []
    configure(smtp_url=f"smtp://mail.example.com:{mailbox.port}", private_hosts="mail.example.com")
    with smtp.connection() as server:
        server.sendmail("us@example.com", "jo@example.com", "Subject: hello")
    assert len(mailbox.mails) == 1


@pytest.fixture
def impostor(tmp_path):
    """A context for a server whose certificate for every name nobody has signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path))
    return context


def test_a_mail_server_with_a_certificate_that_nobody_signed_gets_nothing(mailbox, impostor, elsewhere, configure):
    from aiosmtpd.controller import Controller

    from devstack.process import free_port
    from workers.gateways import smtp

    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), tls_context=impostor)
    controller.start()
    try:
        elsewhere(controller.port)
        configure(smtp_url=f"smtp://user:password-of-ours@mail.example.com:{controller.port}")
        with pytest.raises(ssl.SSLCertVerificationError), smtp.connection():
            raise AssertionError("connected")
    finally:
        controller.stop()
    assert mailbox.mails == []


@pytest.fixture
def impostor_port(impostor):
    """A port on which a TLS server with that certificate accepts connections, and remembers what it could read."""
    listener = socket.create_server(("127.0.0.1", 0))
    read = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with contextlib.suppress(OSError), impostor.wrap_socket(peer, server_side=True) as encrypted:
                    read.append(encrypted.recv(1000))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    assert not [data for data in read if data]


def call_redis(configure, port):
    from models.platform.redis import fast_redis_client

    configure(redis_url=f"rediss://:password-of-ours@127.0.0.1:{port}/0")
    fast_redis_client().ping()


def call_storage(configure, port):
    from workers.gateways import storage

    configure(minio_endpoint=f"127.0.0.1:{port}", minio_access_key="us", minio_secret_key="ours", minio_secure=True)
    storage.forget()
    try:
        storage.client().list_buckets()
    finally:
        storage.forget()


def call_vault(configure, port):
    from workers.gateways import vault

    configure(vault_addr=f"https://127.0.0.1:{port}", vault_token="token-of-ours")
    vault.is_signed(b"payload", "vault:v1:x")


@pytest.mark.parametrize("call", [call_redis, call_storage, call_vault])
def test_no_service_with_a_certificate_that_nobody_signed_gets_anything(configure, impostor_port, call):
    with pytest.raises(Exception) as failure:  # noqa: PT011  (each client has its own)
        call(configure, impostor_port)
    chain = [failure.value]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    assert any("CERTIFICATE_VERIFY_FAILED" in str(error) for error in chain)


def self_signed(folder):
    """(certificate, key) files for mail.example.com."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example.com")])
    moment = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(moment - timedelta(days=1)).not_valid_after(moment + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"
