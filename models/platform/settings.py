"""All settings, one per line: the name (in upper case in the environment), type and default. Read once per process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEV_SECRET = "development-only-secret"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", validate_assignment=True)

    # the service
    app_name: str = "longshore"  # metadata, token issuer, `service` in logs
    app_description: str = "An agent and task platform"
    app_version: str = "0.1.0"
    app_public_url: str = "http://localhost:3000"  # base of links in mails
    environment: str = "development"  # development, dev, local and test are not hardened
    debug: bool = False  # any host is trusted
    port: int = 8000
    log_level: str = "INFO"
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = "json"

    # the HTTP edge
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"  # comma list, * for any
    allowed_origins: str = "http://localhost:3000,http://localhost:8000"  # comma list
    trusted_proxies: str = ""  # comma list of networks whose X-Forwarded-For is believed
    request_body_limit_bytes: int = 1_048_576  # larger bodies are refused with 413
    chat_wait_seconds: float = 300  # how long POST /chat waits for its run before it answers 504
    metrics_token: SecretStr | None = None  # when set, /metrics wants it as a bearer

    # Postgres
    database_url: str = "postgresql://postgres@127.0.0.1:5432/longshore"
    database_pool_size: int = 20  # connections per process
    database_pool_timeout: float = 30  # seconds to wait for a free one
    database_pool_recycle: int = 1800  # seconds after which a connection is replaced
    database_health_timeout: float = 5  # seconds

    # Redis: progress and limits in one database, the broker in another
    redis_url: str = "redis://127.0.0.1:6379/0"
    broker_url: str | None = None  # default: redis_url with the next database; amqp://... moves the jobs to RabbitMQ
    rate_limit_key_prefix: str = "rate-limit"
    progress_ttl_seconds: int = 3600  # how long a finished run's stream is kept in Redis

    # jobs
    job_lease_seconds: float = 3  # a worker that does not renew its lease for this long loses its jobs
    job_heartbeat_seconds: float = 1  # how often a worker process renews its leases, with one statement
    job_resend_seconds: float = 3  # a due job that is not claimed for this long is sent again
    tenant_jobs_at_once: int = 64  # of one queue: jobs of a tenant that are with the workers at once; 0: any number
    job_retention_days: int = 14  # finished jobs are purged after this
    run_events_ttl_days: int = 180  # run events are purged after this
    worker_grace_seconds: float = 20  # on SIGTERM running jobs may finish this long, then they go back to their queues

    # the model provider
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None  # any OpenAI-compatible server
    openai_timeout_seconds: float = 60  # a provider call times out after this many seconds without data
    agent_model_default: str = "gpt-5.1"
    agent_model_triage: str | None = None
    agent_model_code: str | None = None
    agent_model_data: str | None = None
    agent_models_allowed: str = ""  # comma list of models that clients may ask for, besides the agents' own
    agent_history_messages: int = 200  # newest messages of a conversation that the model is given
    mcp_tools: list[dict[str, Any]] = []  # hosted MCP servers, a JSON list
    image_default_size: str = "1024x1024"
    image_default_quality: str = "high"
    image_default_format: str = "png"
    image_default_background: str = "auto"
    image_default_compression: int | None = None
    image_max_partial_images: Annotated[int, Field(ge=0, le=3)] = 2
    container_default_auto_memory: str = "1g"

    # rate limits per user; 0 or less switches one off
    chat_rate_limit_per_minute: int = 60
    chat_stream_rate_limit_per_minute: int = 30
    chat_stream_concurrent_limit: int = 5

    # object storage
    storage_provider: str = "minio"
    storage_bucket_prefix: str = "agent-data"
    minio_endpoint: str | None = None  # host:port
    minio_access_key: str | None = None
    minio_secret_key: SecretStr | None = None
    minio_region: str | None = None
    minio_secure: bool = True

    # mail
    smtp_url: str | None = None  # smtp://user:password@host:port; smtps:// for TLS from the start
    mail_from: str = "Longshore <no-reply@localhost>"

    # sign-in
    secret_key: SecretStr = SecretStr(DEV_SECRET)
    auth_key_storage_path: str = "var/keys/keyset.json"
    auth_audience: str = "agent-api,analytics-service,billing-worker,support-console,synthetic-monitor"
    auth_jwks_max_age_seconds: int = 300
    access_token_expire_minutes: int = 30
    auth_refresh_token_ttl_minutes: int = 43_200
    auth_session_max_days: int = 180  # a session ends after this, however often it is refreshed
    auth_refresh_rate_limit_per_minute: int = 30  # per session or service account token
    require_email_verification: bool = True
    email_verification_token_ttl_minutes: int = 60
    email_verification_email_rate_limit_per_hour: int = 3  # mails per user
    email_verification_ip_rate_limit_per_hour: int = 10  # ... and per address
    password_reset_token_ttl_minutes: int = 30
    password_reset_email_rate_limit_per_hour: int = 5  # requests per mail address
    password_reset_ip_rate_limit_per_hour: int = 20  # ... and per network address
    auth_password_history_count: int = 5  # passwords, the current one included, that cannot be used again
    auth_lockout_threshold: int = 5  # failed logins that lock an account; 0: never
    auth_lockout_window_minutes: int = 60  # after this long without one, counting starts again
    auth_lockout_duration_minutes: int = 60
    auth_ip_lockout_threshold: int = 50  # failed logins from one network that block it for a while; 0: never
    auth_ip_lockout_window_minutes: int = (
        10  # counted in windows of this length; logins are refused until the window ends
    )
    audit_retention_days: int = 400  # audit events, and decided requests for access, are purged after this
    service_accounts_path: str | None = (
        None  # the catalogue of service accounts (TOML); default: the one in the package
    )
    service_issue_verifier: Annotated[str, Field(pattern="^(off|hmac|vault)$")] = (
        "off"  # who checks signed requests for tokens
    )
    service_issue_secret: SecretStr | None = None  # hmac: the secret that both sides know
    service_issue_rate_limit_per_minute: int = 5  # tokens per service account
    service_issue_global_rate_limit_per_minute: int = 30
    vault_addr: str | None = None  # vault: its URL
    vault_token: SecretStr | None = None
    vault_namespace: str | None = None
    vault_transit_key: str = "auth-service"
    geoip_database_path: str | None = None  # a MaxMind City database (.mmdb): sessions then show their location

    # signing up
    signup_access_policy: Annotated[str, Field(pattern="^(public|invite_only|approval)$")] = "invite_only"
    signup_rate_limit_per_hour: int = 20  # registrations per network address, and as many requests for access
    signup_rate_limit_per_ip_day: int = 100
    signup_rate_limit_per_email_day: int = 3
    signup_rate_limit_per_domain_day: int = 20  # per mail domain, except those in SIGNUP_SHARED_DOMAINS
    signup_shared_domains: str = (  # comma list: public providers, whose users are unrelated
        "gmail.com,googlemail.com,outlook.com,hotmail.com,live.com,msn.com,yahoo.com,icloud.com,me.com,aol.com,"
        "proton.me,protonmail.com,gmx.com,gmx.de,gmx.net,web.de,mail.com,zoho.com,fastmail.com,qq.com,163.com"
    )
    signup_concurrent_requests_limit: int = 3  # pending requests for access per network address and day
    signup_default_plan_code: str = "starter"
    allow_signup_trial_override: bool = False  # whether a registration may ask for a shorter trial
    signup_invite_reservation_ttl_seconds: int = 900  # how long an unfinished signup holds its place; at least 60

    @property
    def hardened(self) -> bool:
        return not self.debug and self.environment.lower() not in {"development", "dev", "local", "test"}

    @property
    def broker(self) -> str:
        """Where jobs are sent. By default the database after that of REDIS_URL: they must not share one."""
        if self.broker_url:
            return self.broker_url
        url = urlsplit(self.redis_url)
        number = int(url.path.lstrip("/") or 0)
        return urlunsplit(url._replace(path=f"/{number + 1}"))

    @contextmanager
    def override(self, **values: Any) -> Iterator[None]:
        """Other values, validated, until the block ends. For tests."""
        before = {name: getattr(self, name) for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    @staticmethod
    def items(text: str) -> list[str]:
        """The parts of a comma list."""
        return [part.strip() for part in text.split(",") if part.strip()]

    def require_safe(self) -> None:
        """SystemExit for settings that cannot work, and in production for those that are only fit for development."""
        if problem := next(self._problems(), None):
            raise SystemExit(problem)

    def _problems(self) -> Iterator[str]:
        if self.service_issue_verifier == "hmac" and not self.service_issue_secret:
            yield "SERVICE_ISSUE_SECRET is not set, which SERVICE_ISSUE_VERIFIER=hmac needs."
        if self.service_issue_verifier == "vault" and not (self.vault_addr and self.vault_token):
            yield "VAULT_ADDR or VAULT_TOKEN is not set, which SERVICE_ISSUE_VERIFIER=vault needs."
        if not self.hardened:
            return
        if self.secret_key.get_secret_value() == DEV_SECRET:
            yield "SECRET_KEY still has its development value: set it to at least 32 random characters."
        if len(self.secret_key.get_secret_value()) < 32:
            yield "SECRET_KEY is too short: set it to at least 32 random characters."
        if not self.openai_api_key:
            yield "OPENAI_API_KEY is not set: agents cannot reach a model. Set it, or ENVIRONMENT=development."
        if self.require_email_verification and not self.smtp_url:
            yield "SMTP_URL is not set: nobody can verify an address. Set it, or REQUIRE_EMAIL_VERIFICATION=false."


settings = Settings()
