"""Safe by default: production is the default, and what a process refuses to start with."""

from pathlib import Path

import pytest

from edge.app import create_app
from models.platform import startup_checks
from models.platform.settings import Settings, settings
from tests.support.accounts import CHEAP_HASHER
from tests.support.production import SAFE, STARTS, python, settings_with

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- production is the default


def test_an_environment_that_says_nothing_is_production():
    assert Settings.model_fields["environment"].default == "production"
    assert settings_with(environment="").hardened
    for name in ("staging", "prod", "Develop", " development"):
        assert settings_with(environment=name).hardened, name


@pytest.mark.parametrize("process", STARTS)
def test_no_process_starts_with_nothing_set_and_all_refusals_come_in_one_list(process):
    started = python("-c", STARTS[process])
    assert started.returncode == 1
    refused = {line.split(" ", 1)[0].rstrip(",") for line in started.stderr.splitlines()}
    assert {"APP_PUBLIC_URL", "MAIL_FROM"} <= refused and "Traceback" not in started.stderr
    assert ("SECRET_KEY" in refused) is (process in ("edge", "worker"))


@pytest.mark.parametrize("process", ["worker", "scheduler", "release"])
@pytest.mark.parametrize("address", ["redis://localhost:port/0", "redis://localhost/zero", "unix:///run/redis.sock"])
def test_an_address_that_cannot_be_used_is_a_line_in_the_list(process, address):
    started = python("-c", STARTS[process], **{**SAFE, "REDIS_URL": address, "BROKER_URL": ""})
    assert started.returncode == 1 and "Traceback" not in started.stderr
    assert "REDIS_URL" in started.stderr


def test_the_command_check_prints_what_would_be_refused():
    refused = python("-m", "models", "check")
    assert refused.returncode == 1 and refused.stdout.splitlines() and not refused.stderr
    assert all(
        line.split(" ", 1)[0].rstrip(",").isupper() and ": write" in line for line in refused.stdout.splitlines()
    )
    passed = python("-m", "models", "check", **SAFE)
    assert passed.returncode == 0 and "safe for ENVIRONMENT=production" in passed.stdout, passed.stdout


def test_values_that_cannot_be_understood_are_refused_in_one_list_too():
    refused = python("-m", "models", "check", PORT="eighty", LOG_FORMAT="xml", MCP_TOOLS="{not json}")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert {line.split(":")[0] for line in refused.stderr.splitlines()} == {"PORT", "LOG_FORMAT", "MCP_TOOLS"}
    assert not [word for word in ("eighty", "xml", "not json") if word in refused.stderr]


def test_debug_weakens_nothing_in_production(http, clean, configure):
    configure(environment="production", debug=True, service_issue_dev_local=True)
    assert settings.hardened
    assert issue(http).status_code == 401
    with pytest.raises(SystemExit, match="DEBUG is on"):
        create_app(settings_with(debug="true", service_issue_verifier="off"), hasher=CHEAP_HASHER)


# ---------------------------------------------------------------- tokens without a signature


def issue(http, headers=None, **options):
    body = {"account": "support-console", "scopes": ["support:*"]}
    headers = {"Authorization": "Bearer dev-local", "Host": "localhost", **(headers or {})}
    return http.simulate_post("/api/v1/auth/service-accounts/issue", json=body, headers=headers, **options)


def test_with_environment_unset_nobody_mints_a_token_without_a_signature(http, clean, configure):
    default = Settings.model_fields["environment"].default
    configure(environment=default)
    assert issue(http).status_code == 401


def test_development_alone_does_not_accept_unsigned_requests(http, clean, configure):
    configure(environment="development", service_issue_dev_local=False)
    assert issue(http).status_code == 401


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("203.0.113.7", {}),
        ("10.0.0.1", {}),
        ("::ffff:10.0.0.1", {}),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.7"}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
    ],
)
def test_unsigned_requests_are_accepted_from_this_machine_only(http, clean, configure, peer, headers):
    configure(environment="development", service_issue_dev_local=True)
    assert issue(http, headers, remote_addr=peer).status_code == 401
    assert issue(http, remote_addr="127.0.0.1").status_code == 201


# ---------------------------------------------------------------- start-up refuses

UNSAFE = {
    "SECRET_KEY": [
        "",
        "short",
        "a" * 40,
        "changeme" * 6,
        "0123456789abcdef" * 4,
        "development-only-secret-of-ours-000",
    ],
    "SECRET_KEY_PREVIOUS": ["development-only-secret", "17f0a9d3b6c852e4907d1c3fb8a4e265,short"],
    "METRICS_TOKEN": ["", "letmein", SAFE["SECRET_KEY"]],
    "SERVICE_ISSUE_SECRET": ["", "secret"],
    "SERVICE_ISSUE_DEV_LOCAL": ["true"],
    "DEBUG": ["true"],
    "ALLOWED_HOSTS": ["*", "api.example.com,*", ","],
    "ALLOWED_ORIGINS": [
        "*",
        "null",
        "http://app.example.com",
        "https://localhost:3000",
        "http://localhost:3000",
        "https://*",
        "https://app.example.com/",
        "https://[",
    ],
    "TRUSTED_PROXIES": ["0.0.0.0/0", "::/0", "the-proxy"],
    "APP_PUBLIC_URL": [
        "",
        "http://app.example.com",
        "https://localhost",
        "https://127.0.0.1:3000",
        "https://[::1]",
        "https://[",
    ],
    "MAIL_FROM": ["", "Example <no-reply@localhost>"],
    "DATABASE_URL": [
        "postgresql://app:Kq7vN2xW9rTz@db.example.com/app",
        "postgresql://app:Kq7vN2xW9rTz@db.example.com/app?sslmode=require",
        "postgresql://app:Kq7vN2xW9rTz@localhost,db.example.com/app?sslmode=prefer",
        "postgresql://app:app@localhost/app",
        "postgresql://app:Kq7vN2xW9rTz@localhost/app?hostaddr=192.0.2.1",
        "postgresql://app:Kq7vN2xW9rTz@/app?service=elsewhere",
        "postgresql://app:Kq7v%zz@localhost/app",
        "postgresql://longshore:longshore-db@localhost/app",
    ],
    "REDIS_URL": [
        "redis://:Kq7vN2xW9rTz@redis.example.com/0",
        "rediss://redis.example.com/0",
        "rediss://:Kq7vN2xW9rTz@redis.example.com/0?ssl_cert_reqs=none",
        "rediss://:Kq7vN2xW9rTz@redis.example.com/0?ssl_check_hostname=False",
        "rediss://:redis@redis.example.com/0",
        "http://redis.example.com",
        "redis://localhost:port/0",
    ],
    "BROKER_URL": ["amqp://app:Kq7vN2xW9rTz@mq.example.com", "redis://:Kq7vN2xW9rTz@redis.example.com/1"],
    "SMTP_URL": ["", "http://mail.example.com", "mail.example.com:25"],
    "MINIO_SECRET_KEY": ["longshore-secret", "short"],
    "MINIO_SECURE": ["false"],
    "VAULT_ADDR": ["http://vault.example.com"],
    "OPENAI_API_KEY": [""],
    "OPENAI_BASE_URL": [
        "http://models.example.com/v1",
        "models.example.com",
        "https://me:Kq7vN2xW9rTz@models.example.com",
    ],
    "RESEND_BASE_URL": ["https://me:Kq7vN2xW9rTz@resend.example.com"],
    "RESEND_WEBHOOK_SECRET": ["whsec_short", "not-a-secret-of-theirs-at-all"],
    "STRIPE_API_BASE": ["http://stripe.example.com", "https://me:Kq7vN2xW9rTz@stripe.example.com"],
    "MCP_TOOLS": ['[{"name": "w", "server_label": "w", "server_url": "http://wiki.example.com"}]'],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in UNSAFE.items() for value in values])
def test_production_refuses(name, value):
    [line] = startup_checks.problems(settings_with(**{name: value}))
    assert name in line.split(":", 1)[0] and ": " in line
    secret = value.removeprefix("https://").split(",")[0]
    assert name in ("ALLOWED_ORIGINS", "TRUSTED_PROXIES") or len(secret) < 8 or secret not in line


def test_a_missing_value_is_refused_by_the_processes_that_need_it():
    bare = settings_with(secret_key="", metrics_token="", openai_api_key="", smtp_url="")
    named = {
        process: {line.split(" ")[0] for line in startup_checks.problems(bare, [process])}
        for process in startup_checks.PROCESSES
    }
    assert named == {
        "edge": {"SECRET_KEY", "METRICS_TOKEN"},
        "worker": {"SECRET_KEY", "OPENAI_API_KEY", "SMTP_URL"},
        "scheduler": set(),
        "release": set(),
    }


def test_resend_needs_its_key_and_a_sender_and_makes_smtp_needless():
    on = {"resend_email_enabled": "true", "smtp_url": ""}
    assert startup_checks.problems(settings_with(**on, resend_api_key="re_0123456789")) == []
    for environment in ("production", "development"):
        [line] = startup_checks.problems(settings_with(**on, environment=environment), ["worker"])
        assert line.startswith("RESEND_API_KEY is not set")
    local = {"resend_api_key": "re_0123456789", "resend_default_from": "Us <us@localhost>"}
    [line] = startup_checks.problems(settings_with(**on, **local))
    assert line.startswith("RESEND_DEFAULT_FROM is not an address of yours")


@pytest.mark.parametrize("blank", ["", " ", " , "])
def test_billing_needs_stripes_secrets_in_the_processes_that_use_them(blank):
    bare = settings_with(enable_billing="true", stripe_secret_key=blank, stripe_webhook_secret=blank)
    named = {
        process: {line.split(" ")[0] for line in startup_checks.problems(bare, [process])}
        for process in startup_checks.PROCESSES
    }
    assert named == {
        "edge": {"STRIPE_WEBHOOK_SECRET"},
        "worker": {"STRIPE_SECRET_KEY"},
        "scheduler": set(),
        "release": set(),
    }
    off = settings_with(stripe_secret_key=blank, stripe_webhook_secret=blank)
    assert startup_checks.problems(off) == []


def test_every_refusal_is_in_the_list():
    worst = {name: values[0] for name, values in UNSAFE.items()}
    text = "\n".join(startup_checks.problems(settings_with(**worst)))
    assert not [name for name in worst if name not in text]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "redis"])
def test_this_machine_and_private_hosts_may_be_reached_without_tls(host):
    changed = {
        "private_hosts": "redis, postgres",
        "redis_url": f"redis://:Kq7vN2xW9rTz@{host}:6379/0",
        "broker_url": f"redis://:Kq7vN2xW9rTz@{host}:6379/1",
        "database_url": f"postgresql://app:Kq7vN2xW9rTz@{host.replace('redis', 'postgres')}/app",
        "openai_base_url": f"http://{host}:8000/v1",
        "stripe_api_base": f"http://{host}:12111",
        "vault_addr": f"http://{host}:8200",
        "minio_endpoint": f"{host}:9000",
        "minio_secure": "false",
    }
    assert startup_checks.problems(settings_with(**changed)) == []


@pytest.mark.parametrize("url", ["postgresql:///app?host=/run/postgresql", "postgres://app@/app"])
def test_a_unix_socket_is_this_machine(url):
    assert startup_checks.problems(settings_with(database_url=url)) == []


def test_the_developer_credential_is_refused_where_other_machines_reach_the_edge():
    changed = {"environment": "development", "service_issue_dev_local": "true", "service_issue_verifier": "off"}
    assert startup_checks.problems(settings_with(**changed)) == []
    [line] = startup_checks.problems(settings_with(host="0.0.0.0", **changed))
    assert "SERVICE_ISSUE_DEV_LOCAL" in line
