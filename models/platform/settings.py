"""All settings, one per line: the name (in upper case in the environment), type and default. Read once per process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from pydantic import Field, Json, Secret, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT = ("development", "dev", "local", "test")
SAFE_URL = r"^(https://|http://(localhost|127\.0\.0\.1)[:/])"  # without TLS only on this machine


class Settings(BaseSettings):
    """Whatever may contain a password or a key is a Secret, which no repr, dump or error message shows."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", validate_assignment=True, hide_input_in_errors=True
    )

    # the service
    app_name: str = "longshore"  # metadata, token issuer, `service` in logs
    app_description: str = "An agent and task platform"
    app_version: str = "0.1.0"
    app_public_url: str = "http://localhost:3000"  # base of links in mails
    environment: str = "production"  # every name but those in DEVELOPMENT is production
    debug: bool = False  # in development, any Host header is accepted; refused in production
    host: str = "127.0.0.1"  # address that the edge listens on
    port: int = 8000
    log_level: str = "INFO"
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = "json"

    # the HTTP edge
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"  # comma list, * for any
    allowed_origins: str = ""  # comma list of other origins whose pages may call the API
    trusted_proxies: str = ""  # comma list of networks whose X-Forwarded-For is believed
    request_body_limit_bytes: int = 1_048_576  # larger bodies are refused with 413
    anonymous_body_limit_bytes: int = 16_384  # ... of callers who are not signed in
    body_timeout_seconds: float = 30  # how long a body may take to arrive; then 408
    anonymous_body_timeout_seconds: float = 10  # ... of callers who are not signed in
    answer_timeout_seconds: float = (
        30  # a client that does not take its answer, or a stream's event, for this long is cut
    )
    network_connection_limit: int = 500  # open connections per client network (/24, /64) and process; 0: any number
    network_request_limit: int = 200  # requests in progress, counted likewise
    hashing_line_limit: int = 64  # requests that wait for a password to be hashed, per process; others get 503
    hashing_line_limit_per_network: int = 16
    chat_wait_seconds: float = 300  # how long POST /chat waits for its run before it answers 504
    metrics_token: SecretStr | None = None  # when set, /metrics wants it as a bearer

    # what this service connects to
    webhook_trusted_hosts: str = (
        ""  # comma list of host:port that tenants' webhooks may reach though they are not public
    )
    private_hosts: str = ""  # comma list of hosts on a private network: they may be reached without TLS

    # Postgres
    database_url: SecretStr = SecretStr("postgresql://postgres@127.0.0.1:5432/longshore")
    database_pool_size: int = 20  # connections per process
    database_pool_timeout: float = 30  # seconds to wait for a free one
    database_pool_recycle: int = 1800  # seconds after which a connection is replaced
    database_health_timeout: float = 5  # seconds

    # Redis: progress and limits in one database, the broker in another
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    broker_url: SecretStr | None = (
        None  # default: redis_url with the next database; amqp://... moves the jobs to RabbitMQ
    )
    rate_limit_key_prefix: str = "rate-limit"
    progress_ttl_seconds: int = 3600  # how long a finished run's stream is kept in Redis

    # jobs
    job_lease_seconds: float = 3  # a worker that does not renew its lease for this long loses its jobs
    job_heartbeat_seconds: float = 1  # how often a worker process renews its leases, with one statement
    job_resend_seconds: float = 3  # a due job that is not claimed for this long is sent again
    tenant_jobs_at_once: int = 64  # of one queue: jobs of a tenant that are with the workers at once; 0: any number
    job_retention_days: int = 14  # finished jobs are purged after this
    run_events_ttl_days: int = 180  # run events are purged after this
    approval_hours: Annotated[float, Field(gt=0)] = (
        72  # how long a run waits for a person; then the model is told that nobody decided
    )
    worker_grace_seconds: float = 20  # on SIGTERM running jobs may finish this long, then they go back to their queues

    # the model provider
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None  # any OpenAI-compatible server
    openai_wire: Annotated[str, Field(pattern="^(responses|chat|auto)$")] = "auto"  # auto: asked of OPENAI_BASE_URL
    openai_wire_ttl_seconds: int = 3600  # how long the answer is remembered
    openai_timeout_seconds: float = 60  # a provider call times out after this many seconds without data
    models_path: str | None = None  # the models file (TOML): more providers, aliases, fall-back chains
    agents_path: str | None = None  # a folder with the operator's own agents/, tools/ and workflows/
    agent_model_default: str = "gpt-5.1"
    agent_model_triage: str | None = None
    agent_model_code: str | None = None
    agent_model_data: str | None = None
    agent_models_allowed: str = ""  # comma list of models that clients may ask for, besides the agents' own
    agent_history_messages: int = 200  # newest messages of a conversation that the model is given
    agent_history_images: Annotated[int, Field(ge=0)] = 5  # newest images of earlier messages that it is shown again
    attachments_max_mb: Annotated[int, Field(gt=0)] = 20  # of all attachments of one message together
    agent_compaction: Annotated[str, Field(pattern="^(trim|summarize)$")] = "trim"  # of older messages
    agent_context_tokens: int = 100_000  # ... and at most so many tokens, by our estimate; a models file may say others
    agent_tools_at_once: Annotated[int, Field(ge=1)] = 8  # calls of one response that run at the same time
    mcp_tools: Secret[list[dict[str, Any]] | Json[list[dict[str, Any]]]] = Secret([])  # MCP servers, a JSON list
    image_default_size: str = "1024x1024"
    image_default_quality: str = "high"
    image_default_format: str = "png"
    image_default_background: str = "auto"
    image_default_compression: Annotated[int, Field(ge=0, le=100)] | None = None  # of jpeg and webp
    image_max_partial_images: Annotated[int, Field(ge=0, le=3)] = 2
    image_output_max_mb: Annotated[int, Field(gt=0)] = 6  # larger generated images are not stored
    image_allowed_formats: str = "png,jpeg,webp"  # of generated images, a comma list

    # containers, in which agents run code
    container_default_auto_memory: str = "1g"
    container_allowed_memory_tiers: str = "1g,4g,16g,64g"  # a comma list
    container_max_containers_per_tenant: Annotated[int, Field(ge=0)] = 10  # a plan may say another number
    container_creations_per_minute: int = 30  # per tenant; 0 or less: any number
    container_fallback_to_auto_on_missing_binding: bool = True  # else the run of an agent without a container fails

    # rate limits per user; 0 or less switches one off
    chat_rate_limit_per_minute: int = 60
    chat_stream_rate_limit_per_minute: int = 30
    chat_stream_concurrent_limit: int = 5
    conversation_search_rate_limit_per_minute: int = 60

    # billing
    enable_billing: bool = False  # subscriptions by Stripe: /api/v1/billing and /webhooks/stripe
    plans_path: str | None = None  # the file of plans (TOML); default: the one in the package
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None  # comma list: during a rotation both the old and the new one
    stripe_api_base: str | None = None  # where Stripe's API is, if not at Stripe
    stripe_timeout_seconds: Annotated[float, Field(gt=0)] = 20  # for one call
    stripe_webhook_tolerance_seconds: Annotated[int, Field(gt=0)] = 300  # how far a signature's time may be off
    stripe_webhook_body_limit_bytes: int = 524_288
    billing_wait_seconds: float = (
        10  # how long a change of a subscription is waited for before it is answered as pending
    )
    billing_calls_per_minute: int = 30  # requests of a tenant that need Stripe; 0 or less: any number
    billing_grace_days: int = 7  # how long a tenant whose payment failed may go on
    billing_event_retention_days: int = 400  # events of billing are purged after this
    enable_billing_stream: bool = False  # GET /api/v1/billing/stream
    billing_stream_rate_limit_per_minute: int = 20  # new streams per tenant; 0 or less: any number
    billing_stream_concurrent_limit: int = 3  # open streams per tenant; 0 or less: any number

    # what a tenant's plan allows
    enable_usage_guardrails: bool = False  # refuse runs of tenants that have used up a limit of their plan
    usage_guardrail_soft_limit_mode: Annotated[str, Field(pattern="^(warn|block)$")] = "warn"
    usage_guardrail_cache_ttl_seconds: int = 30  # until Postgres is asked again what a tenant has used; 0: each time
    usage_rate_limit_per_minute: int = 600  # usage records per tenant; 0 or less: any number

    # object storage
    storage_provider: str = "minio"
    storage_bucket_prefix: Annotated[str, Field(pattern="^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$")] = "agent-data"
    minio_endpoint: str | None = None  # host:port
    minio_access_key: str | None = None
    minio_secret_key: SecretStr | None = None
    minio_region: str | None = None
    minio_secure: bool = True
    minio_public_endpoint: str | None = None  # https://host that clients reach; default: MINIO_ENDPOINT
    storage_signed_url_ttl_seconds: Annotated[int, Field(ge=60, le=604_800)] = 900
    storage_max_file_mb: Annotated[int, Field(gt=0, le=5120)] = 512  # S3 copies at most 5 GiB at once
    storage_wait_seconds: Annotated[float, Field(ge=0)] = 20  # how long a request waits for a job of the storage
    storage_uploads_per_minute: int = 300  # per tenant; 0 or less: any number
    storage_max_total_bytes: int | None = None  # of a tenant's objects; a plan may say another number
    storage_upload_ttl_seconds: Annotated[int, Field(gt=0)] = (
        86_400  # an upload that is not complete by then is dropped
    )
    storage_allowed_mime_types: str = (  # a comma list
        "application/json,application/pdf,application/msword,"
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document,"
        "application/vnd.openxmlformats-officedocument.presentationml.presentation,"
        "text/plain,text/markdown,text/csv,text/x-python,text/x-javascript,text/javascript,text/html,"
        "image/png,image/jpeg,image/webp"
    )

    # vector stores, and the embeddings of what is in them
    vector_engine: Annotated[str, Field(pattern="^(pgvector|openai)$")] = "pgvector"  # of new stores
    embedding_base_url: str | None = None  # any OpenAI-compatible server; default: OPENAI_BASE_URL
    embedding_api_key: SecretStr | None = None  # default: OPENAI_API_KEY
    embedding_model: str = "text-embedding-3-small"
    embedding_dimensions: Annotated[int, Field(gt=0, le=4000)] | None = None  # default: as many as the model gives
    embedding_timeout_seconds: Annotated[float, Field(gt=0)] = 30  # for one batch
    vector_max_file_mb: Annotated[int, Field(gt=0)] = 512  # a plan may say other numbers than this and the next three
    vector_max_total_bytes: int | None = None
    vector_max_files_per_store: Annotated[int, Field(ge=0)] = 5000
    vector_max_stores_per_tenant: Annotated[int, Field(ge=0)] = 10
    vector_poll_seconds: Annotated[float, Field(ge=0)] = 30  # how long attaching a file waits for its indexing
    vector_search_rate_limit_per_minute: int = 600  # per tenant; 0 or less: any number
    vector_allowed_mime_types: str = (  # a comma list
        "text/x-c,text/x-c++,text/x-csharp,text/css,text/csv,application/msword,"
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document,text/x-golang,text/html,text/x-java,"
        "text/javascript,text/x-javascript,application/json,text/markdown,application/pdf,text/x-php,"
        "application/vnd.openxmlformats-officedocument.presentationml.presentation,text/x-python,text/x-script.python,"
        "text/x-ruby,application/x-sh,text/x-tex,application/typescript,text/plain"
    )
    index_memory_mb: Annotated[int, Field(ge=128)] = 1024  # that reading one file may take
    index_seconds: Annotated[int, Field(gt=0)] = 300  # of a processor, for the same
    vector_store_sync_poll_seconds: Annotated[int, Field(ge=5)] = 60  # how often stores at the provider are asked for
    vector_store_sync_batch_size: Annotated[int, Field(gt=0)] = 20
    enable_vector_store_sync_worker: bool = True
    auto_purge_expired_vector_stores: bool = False

    # the public status page, and its alerts
    status_services_path: str | None = None  # the file of services and probes (TOML); default: the one in the package
    status_page_url: Annotated[str, Field(pattern=SAFE_URL)] | None = None  # default: APP_PUBLIC_URL/status
    status_probe_failures: Annotated[int, Field(gt=0, le=100)] = 3  # failed probes in a row that open an incident
    status_probe_recoveries: Annotated[int, Field(gt=0, le=100)] = 2  # good ones in a row that resolve it
    status_probe_timeout_seconds: Annotated[float, Field(gt=0, le=30)] = 5
    status_incident_drafts: bool = False  # an incident that a probe has opened is published by an operator
    status_cache_seconds: Annotated[int, Field(ge=0)] = 10  # how long pages and feeds are answered from memory
    status_subscription_token_ttl_minutes: Annotated[int, Field(gt=0)] = 1440  # of the mail that asks to confirm
    status_subscription_email_rate_limit_per_hour: int = 5  # per address, and per mail address; 0 or less: any number
    status_subscription_ip_rate_limit_per_hour: int = 20  # ... of webhooks
    status_subscription_webhook_timeout_seconds: Annotated[float, Field(gt=0, le=12)] = 5
    status_host_concurrency: Annotated[int, Field(gt=0)] = 4  # deliveries to one host at the same time
    enable_slack_status_notifications: bool = False
    slack_status_bot_token: SecretStr | None = None
    slack_status_default_channels: str = ""  # a comma list, or JSON
    slack_status_tenant_channel_map: str = "{}"  # JSON: tenant -> channels
    slack_api_base_url: Annotated[str, Field(pattern=SAFE_URL)] = "https://slack.com/api"
    slack_http_timeout_seconds: Annotated[float, Field(gt=0)] = 5
    slack_status_rate_limit_window_seconds: Annotated[float, Field(ge=0.1)] = 1  # between two messages to a channel
    slack_status_max_retries: Annotated[int, Field(gt=0)] = 3

    # the contact form
    contact_email_to: str = "support@localhost"  # a comma list, or JSON
    contact_email_subject_prefix: str = "[Contact]"
    contact_email_email_rate_limit_per_hour: int = 3  # per mail address of the sender; 0 or less: any number
    contact_email_ip_rate_limit_per_hour: int = 20  # per network address
    contact_retention_days: int = 400  # closed messages are purged after this

    # logs of browsers, and fixtures for tests
    enable_frontend_log_ingest: bool = False  # POST /api/v1/logs
    allow_anon_frontend_logs: bool = False  # with a signature, instead of a token
    frontend_log_shared_secret: SecretStr | None = None
    frontend_log_rate_limit_per_minute: int = 60  # per user, and per network address; 0 or less: any number
    use_test_fixtures: bool = False  # POST /api/v1/test-fixtures/...: refused in production

    # mail
    resend_email_enabled: bool = False  # by Resend's HTTP API instead of SMTP
    resend_api_key: SecretStr | None = None
    resend_base_url: Annotated[str, Field(pattern=SAFE_URL)] = "https://api.resend.com"
    resend_default_from: str | None = None  # default: MAIL_FROM
    resend_webhook_secret: SecretStr | None = None  # verifies what Resend reports of bounces and complaints
    smtp_url: SecretStr | None = None  # smtp://user:password@host:port; smtps:// for TLS from the start
    mail_from: str = "Longshore <no-reply@localhost>"

    # sign-in
    secret_key: SecretStr | None = None  # the keys of all stored digests are derived from it
    secret_key_previous: SecretStr | None = None  # comma list: digests made with these keys are still accepted
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
    breach_list_path: str | None = None  # list of passwords known from breaches; see `breached-passwords build`
    breach_service: Annotated[str, Field(pattern=SAFE_URL)] | None = None  # asked as well, if set
    breach_service_required: bool = False  # no new passwords while that service does not answer
    auth_known_device_days: int = 400  # a device that has not logged in for this long is not known any more
    auth_refresh_grace_seconds: int = 10  # a used refresh token is answered again for this long; 0: never
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
    service_issue_dev_local: bool = False  # development only: `Bearer dev-local` from this machine needs no signature
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

    # traces; the other OTEL_ variables are read by the library
    otel_exporter_otlp_endpoint: str | None = None  # a collector that speaks OTLP over HTTP; without one traces are off
    otel_exporter_otlp_traces_endpoint: str | None = None  # the full URL instead
    otel_exporter_otlp_headers: SecretStr | None = None  # what the collector wants: name=value, a comma list
    otel_exporter_otlp_traces_headers: SecretStr | None = None
    otel_sdk_disabled: bool = False
    otel_instrumentation_genai_capture_message_content: str = "NO_CONTENT"  # SPAN_ONLY: what models and tools say, too
    trace_context_from_clients: bool = True  # whether a request may continue its caller's trace

    @property
    def hardened(self) -> bool:
        """Whether this is production: everything that does not say that it is development."""
        return self.environment.lower() not in DEVELOPMENT

    @property
    def traces_endpoint(self) -> str | None:
        """Where traces are sent; None if they are off."""
        if self.otel_sdk_disabled:
            return None
        return self.otel_exporter_otlp_traces_endpoint or self.otel_exporter_otlp_endpoint

    @property
    def broker(self) -> str:
        """Where jobs are sent. By default the database after that of REDIS_URL: they must not share one."""
        if self.broker_url:
            return self.broker_url.get_secret_value()
        url = urlsplit(self.redis_url.get_secret_value())
        number = int(url.path.lstrip("/") or 0)
        return urlunsplit(url._replace(path=f"/{number + 1}"))

    def secret_values(self) -> set[str]:
        """Every text in these settings that nobody may see: keys, tokens, addresses with a password, passwords alone."""
        values = [getattr(self, name) for name in type(self).model_fields]
        secrets = {text for value in values if isinstance(value, Secret | SecretStr) for text in _texts_of(value)}
        return secrets | {password for text in secrets for password in _passwords_in(text)}

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


def _texts_of(secret: Secret[Any] | SecretStr) -> Iterator[str]:
    value = secret.get_secret_value()
    if not isinstance(value, str):  # MCP_TOOLS
        for server in value:
            headers = server.get("headers")
            values = [server.get("authorization"), *(headers.values() if isinstance(headers, dict) else ())]
            yield from (str(text) for text in values if text)
    elif "://" not in value:
        yield from (value, *Settings.items(value))
        yield from (text for item in Settings.items(value) if (text := item.partition("=")[2].strip()))
    elif any(_passwords_in(value)):
        yield value


def _passwords_in(url: str) -> Iterator[str]:
    """The passwords in a URL, as they are written there and as they are."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for password in (parts.password, *parse_qs(parts.query).get("password", [])):
        if password:
            yield from (password, unquote(password))


def read() -> Settings:
    """The settings of this process. SystemExit that lists all values that cannot be understood, without showing them."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{str(problem['loc'][0]).upper()}: {problem['msg']}." for problem in error.errors()]
        raise SystemExit("\n".join(lines)) from None


settings = read()
