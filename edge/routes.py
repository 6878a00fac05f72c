"""The route table: every path on one line."""

from edge.endpoint import Route
from edge.openapi import OpenApi, document
from edge.reference import Reference
from edge.resources.agents import Agents, Tools
from edge.resources.approvals import Approvals
from edge.resources.auth.invites import Invites
from edge.resources.auth.passwords import Email, Password
from edge.resources.auth.service_accounts import ServiceAccountIssue, ServiceAccounts
from edge.resources.auth.sessions import Logout, Me, Refresh, Sessions, Token
from edge.resources.auth.signup import Register, SignupPolicy
from edge.resources.auth.signup_requests import RequestAccess, SignupRequests
from edge.resources.billing.checkout import Checkout, Portal, Preview
from edge.resources.billing.dispatches import Dispatches
from edge.resources.billing.events import BillingEvents, BillingStream
from edge.resources.billing.invoices import Invoices
from edge.resources.billing.operations import Operations
from edge.resources.billing.plans import Plans
from edge.resources.billing.subscriptions import Subscriptions
from edge.resources.billing.tenant_contacts import BillingContacts
from edge.resources.billing.tenant_webhook import BillingWebhook
from edge.resources.billing.usage import Usage
from edge.resources.billing.webhook import StripeWebhook
from edge.resources.browser_logs import BrowserLogs
from edge.resources.chat import Chat, ChatStream
from edge.resources.contact import Contact, ContactMessages
from edge.resources.containers import AgentContainers, Containers
from edge.resources.conversations import Conversations
from edge.resources.fixtures import Fixtures
from edge.resources.health import Health, Jwks, Root
from edge.resources.mail.reports import ResendWebhook
from edge.resources.mail.suppressions import Suppressions
from edge.resources.metrics import Metrics
from edge.resources.robots import Robots
from edge.resources.runs import Runs
from edge.resources.status.deliveries import Deliveries as StatusDeliveries
from edge.resources.status.deliveries import IncidentAlerts
from edge.resources.status.incidents import Incidents
from edge.resources.status.pages import StatusPages
from edge.resources.status.status import Status, Statuspage
from edge.resources.status.subscription_pages import SubscriptionPages
from edge.resources.status.subscription_webhooks import SubscriptionWebhooks
from edge.resources.status.subscriptions import Subscriptions as StatusSubscriptions
from edge.resources.storage import Objects
from edge.resources.tenants import Settings as TenantSettings
from edge.resources.vector_stores import VectorStoreFiles, VectorStores, VectorStoreSearch
from edge.resources.workflows import WorkflowRuns, Workflows
from models.auth.password_hashing import PasswordHasher
from models.platform.settings import Settings


def routes(settings: Settings, hasher: PasswordHasher) -> list[Route]:
    """All routes. The last one serves the OpenAPI document of the others."""
    table = [
        *_installation(),
        *_accounts(hasher),
        *_agents(),
        *_tenants(),
        *_contact(),
        *_vector_stores(),
        *_containers(),
        *_storage(),
        *_status(),
        *_status_pages(),
        *_status_subscriptions(),
        *_mail(),
        *((Route("/webhooks/resend", ResendWebhook()),) if settings.resend_webhook_secret else ()),
        *_status_alerts(),
        *((Route("/api/v1/logs", BrowserLogs()),) if settings.enable_frontend_log_ingest else ()),
        *(_billing() if settings.enable_billing else ()),
        *(_fixtures(hasher) if settings.use_test_fixtures else ()),
    ]
    return [*table, Route("/openapi.json", OpenApi(document(table, settings)))]


# fmt: off
def _installation() -> list[Route]:
    health, reference = Health(), Reference()
    return [
        Route("/",                                                              Root()),
        Route("/health",                                                        health),
        Route("/health/ready",                                                  health,                 "ready"),
        Route("/health/storage",                                                health,                 "storage"),
        Route("/robots.txt",                                                    Robots()),
        Route("/metrics",                                                       Metrics()),
        Route("/docs",                                                          reference),
        Route("/docs/{name}",                                                   reference,              "asset"),
        Route("/.well-known/jwks.json",                                         Jwks()),
    ]


def _accounts(hasher: PasswordHasher) -> list[Route]:
    logout, sessions, email, password = Logout(), Sessions(), Email(hasher), Password(hasher)
    requests, invites, machines = SignupRequests(), Invites(), ServiceAccounts()
    return [
        Route("/api/v1/auth/token",                                             Token(hasher)),
        Route("/api/v1/auth/refresh",                                           Refresh()),
        Route("/api/v1/auth/logout",                                            logout),
        Route("/api/v1/auth/logout/all",                                        logout,                 "all"),
        Route("/api/v1/auth/sessions",                                          sessions),
        Route("/api/v1/auth/sessions/{session_id:uuid}",                        sessions,               "one"),
        Route("/api/v1/auth/email/send",                                        email,                  "send"),
        Route("/api/v1/auth/email/verify",                                      email,                  "verify"),
        Route("/api/v1/auth/password/forgot",                                   password,               "forgot"),
        Route("/api/v1/auth/password/confirm",                                  password,               "confirm"),
        Route("/api/v1/auth/password/change",                                   password,               "change"),
        Route("/api/v1/auth/password/reset",                                    password,               "reset"),
        Route("/api/v1/auth/signup-policy",                                     SignupPolicy()),
        Route("/api/v1/auth/register",                                          Register(hasher)),
        Route("/api/v1/auth/request-access",                                    RequestAccess()),
        Route("/api/v1/auth/signup-requests",                                   requests),
        Route("/api/v1/auth/signup-requests/{request_id:uuid}/approve",         requests,               "approve"),
        Route("/api/v1/auth/signup-requests/{request_id:uuid}/reject",          requests,               "reject"),
        Route("/api/v1/auth/invites",                                           invites),
        Route("/api/v1/auth/invites/{invite_id:uuid}/revoke",                   invites,                "revoke"),
        Route("/api/v1/auth/service-accounts/issue",                            ServiceAccountIssue()),
        Route("/api/v1/auth/service-accounts/browser-issue",                    machines,               "browser"),
        Route("/api/v1/auth/service-accounts/tokens",                           machines),
        Route("/api/v1/auth/service-accounts/tokens/{jti}/revoke",              machines,               "revoke"),
        Route("/api/v1/auth/me",                                                Me()),
    ]


def _agents() -> list[Route]:
    agents, conversations, runs, approvals = Agents(), Conversations(), Runs(), Approvals()
    flows, flow_runs = Workflows(), WorkflowRuns()
    return [
        Route("/api/v1/chat",                                                   Chat()),
        Route("/api/v1/chat/stream",                                            ChatStream()),
        Route("/api/v1/agents",                                                 agents),
        Route("/api/v1/agents/{agent_name}/status",                             agents,                 "status"),
        Route("/api/v1/tools",                                                  Tools()),
        Route("/api/v1/conversations",                                          conversations),
        Route("/api/v1/conversations/search",                                   conversations,          "search"),
        Route("/api/v1/conversations/{conversation_id}",                        conversations,          "one"),
        Route("/api/v1/conversations/{conversation_id}/events",                 conversations,          "events"),
        Route("/api/v1/runs/{run_id}",                                          runs),
        Route("/api/v1/runs/{run_id}/stream",                                   runs,                   "stream"),
        Route("/api/v1/runs/{run_id}/cancel",                                   runs,                   "cancel"),
        Route("/api/v1/runs/{run_id}/approvals",                                approvals,              "run"),
        Route("/api/v1/runs/{run_id}/approvals/{call_id}",                      approvals,              "call"),
        Route("/api/v1/approvals",                                              approvals),
        Route("/api/v1/workflows",                                              flows),
        Route("/api/v1/workflows/runs",                                         flow_runs),
        Route("/api/v1/workflows/runs/{run_id}",                                flow_runs,              "one"),
        Route("/api/v1/workflows/runs/{run_id}/cancel",                         flow_runs,              "cancel"),
        Route("/api/v1/workflows/runs/{run_id}/retry",                          flow_runs,              "retry"),
        Route("/api/v1/workflows/{workflow_key}",                               flows,                  "one"),
        Route("/api/v1/workflows/{workflow_key}/run",                           flows,                  "run"),
        Route("/api/v1/workflows/{workflow_key}/run-stream",                    flows,                  "stream"),
    ]


def _tenants() -> list[Route]:
    settings = TenantSettings()
    return [
        Route("/api/v1/tenants/settings",                                       settings),
        Route("/api/v1/tenants/settings/flags",                                 settings,               "flags"),
    ]


def _mail() -> list[Route]:
    suppressions = Suppressions()
    return [
        Route("/api/v1/mail/suppressions",                                      suppressions),
        Route("/api/v1/mail/suppressions/remove",                               suppressions,           "remove"),
    ]


def _contact() -> list[Route]:
    messages = ContactMessages()
    return [
        Route("/api/v1/contact",                                                Contact()),
        Route("/api/v1/contact/messages",                                       messages),
        Route("/api/v1/contact/messages/{message_id:uuid}",                     messages,               "one"),
        Route("/api/v1/contact/messages/{message_id:uuid}/assign",              messages,               "assign"),
        Route("/api/v1/contact/messages/{message_id:uuid}/close",               messages,               "close"),
        Route("/api/v1/contact/messages/{message_id:uuid}/reopen",              messages,               "reopen"),
    ]


def _vector_stores() -> list[Route]:
    stores, files = VectorStores(), VectorStoreFiles()
    return [
        Route("/api/v1/vector-stores",                                          stores),
        Route("/api/v1/vector-stores/{vector_store_id:uuid}",                   stores,                 "one"),
        Route("/api/v1/vector-stores/{vector_store_id:uuid}/search",            VectorStoreSearch()),
        Route("/api/v1/vector-stores/{vector_store_id:uuid}/files",             files),
        Route("/api/v1/vector-stores/{vector_store_id:uuid}/files/{file_id}",   files,                  "one"),
        Route("/api/v1/vector-stores/{vector_store_id:uuid}/files/{file_id}/index",  files,             "index"),
    ]


def _containers() -> list[Route]:
    containers, agents = Containers(), AgentContainers()
    return [
        Route("/api/v1/containers",                                             containers),
        Route("/api/v1/containers/agents",                                      agents,                 "all"),
        Route("/api/v1/containers/agents/{agent_key}/container",                agents),
        Route("/api/v1/containers/{container_id:uuid}",                         containers,             "one"),
    ]


def _storage() -> list[Route]:
    objects = Objects()
    return [
        Route("/api/v1/storage/objects",                                        objects),
        Route("/api/v1/storage/objects/upload-url",                             objects,                "upload"),
        Route("/api/v1/storage/objects/{object_id:uuid}",                       objects,                "one"),
        Route("/api/v1/storage/objects/{object_id:uuid}/upload-url",            objects,                "renew"),
        Route("/api/v1/storage/objects/{object_id:uuid}/complete",              objects,                "complete"),
        Route("/api/v1/storage/objects/{object_id:uuid}/download-url",          objects,                "download"),
    ]


def _status() -> list[Route]:
    status, incidents, statuspage = Status(), Incidents(), Statuspage()
    return [
        Route("/api/v1/status",                                                 status),
        Route("/api/v1/status.rss",                                             status,                 "rss_alias"),
        Route("/api/v1/status/rss",                                             status,                 "rss"),
        Route("/api/v1/status/atom",                                            status,                 "atom"),
        Route("/api/v1/status/incidents",                                       incidents),
        Route("/api/v1/status/incidents/{incident_id}",                         incidents,              "one"),
        Route("/api/v1/status/incidents/{incident_id}/updates",                 incidents,              "updates"),
        Route("/api/v1/status/incidents/{incident_id}/publish",                 incidents,              "publish"),
        Route("/api/v2/summary.json",                                           statuspage,             "summary"),
        Route("/api/v2/status.json",                                            statuspage,             "status"),
        Route("/api/v2/components.json",                                        statuspage,             "components"),
        Route("/api/v2/incidents.json",                                         statuspage,             "incidents"),
        Route("/api/v2/incidents/unresolved.json",                              statuspage,             "unresolved"),
        Route("/api/v2/scheduled-maintenances.json",                            statuspage,             "maintenances"),
        Route("/api/v2/scheduled-maintenances/upcoming.json",                   statuspage,             "upcoming"),
        Route("/api/v2/scheduled-maintenances/active.json",                     statuspage,             "active"),
    ]


def _status_pages() -> list[Route]:
    pages, subscriptions = StatusPages(), SubscriptionPages()
    return [
        Route("/status",                                                        pages),
        Route("/status/history",                                                pages,                  "history"),
        Route("/status/incidents/{slug}",                                       pages,                  "incident"),
        Route("/status/subscribe",                                              subscriptions,          "subscribe"),
        Route("/status/confirm",                                                subscriptions,          "confirm"),
        Route("/status/unsubscribe",                                            subscriptions,          "unsubscribe"),
    ]


def _status_subscriptions() -> list[Route]:
    subscriptions, webhooks = StatusSubscriptions(), SubscriptionWebhooks()
    return [
        Route("/api/v1/status/subscriptions",                                   subscriptions),
        Route("/api/v1/status/subscriptions/verify",                            subscriptions,          "verify"),
        Route("/api/v1/status/subscriptions/challenge",                         subscriptions,          "challenge"),
        Route("/api/v1/status/subscriptions/{subscription_id:uuid}",            subscriptions,          "one"),
        Route("/api/v1/status/subscriptions/{subscription_id:uuid}/resend",     webhooks,               "resend"),
        Route("/api/v1/status/subscriptions/{subscription_id:uuid}/secret",     webhooks,               "secret"),
        Route("/api/v1/status/subscriptions/{subscription_id:uuid}/test",       webhooks,               "test"),
        Route("/api/v1/status/subscriptions/{subscription_id:uuid}/deliveries", webhooks,               "deliveries"),
    ]


def _status_alerts() -> list[Route]:
    deliveries, of_subscription = StatusDeliveries(), "/api/v1/status/subscriptions/{subscription_id:uuid}/deliveries"
    return [
        Route("/api/v1/status/incidents/{incident_id}/resend",              IncidentAlerts(),           "resend"),
        Route("/api/v1/status/fan-outs",                                    deliveries,                 "fan_outs"),
        Route("/api/v1/status/deliveries",                                  deliveries),
        Route("/api/v1/status/deliveries/{delivery_id:uuid}/redeliver",     deliveries,                 "redeliver"),
        Route(f"{of_subscription}/{{delivery_id:uuid}}/redeliver",          deliveries,                 "redeliver_own"),
    ]


def _billing() -> list[Route]:
    webhook, subscriptions, dispatches = BillingWebhook(), Subscriptions(), Dispatches()
    return [
        Route("/webhooks/stripe",                                               StripeWebhook()),
        Route("/api/v1/billing/plans",                                          Plans()),
        Route("/api/v1/billing/tenants/{tenant_id}/usage",                      Usage()),
        Route("/api/v1/billing/stream",                                         BillingStream()),
        Route("/api/v1/billing/tenants/{tenant_id}/events",                     BillingEvents()),
        Route("/api/v1/tenants/settings/billing-contacts/test",                 BillingContacts()),
        Route("/api/v1/tenants/settings/billing-webhook/secret",                webhook,                "secret"),
        Route("/api/v1/tenants/settings/billing-webhook/test",                  webhook,                "test"),
        Route("/api/v1/tenants/settings/billing-webhook/deliveries",            webhook,                "deliveries"),
        Route("/api/v1/billing/tenants/{tenant_id}/subscription",               subscriptions),
        Route("/api/v1/billing/tenants/{tenant_id}/subscription/cancel",        subscriptions,          "cancel"),
        Route("/api/v1/billing/tenants/{tenant_id}/checkout",                   Checkout()),
        Route("/api/v1/billing/tenants/{tenant_id}/portal",                     Portal()),
        Route("/api/v1/billing/tenants/{tenant_id}/preview",                    Preview()),
        Route("/api/v1/billing/tenants/{tenant_id}/invoices",                   Invoices()),
        Route("/api/v1/billing/tenants/{tenant_id}/operations/{operation_id}",  Operations()),
        Route("/api/v1/billing/operator/events",                                dispatches),
        Route("/api/v1/billing/operator/events/replay",                         dispatches,             "replay"),
        Route("/api/v1/billing/operator/events/{event_id}",                     dispatches,             "one"),
        Route("/api/v1/billing/operator/events/{event_id}/replay",              dispatches,             "replay_one"),
    ]


def _fixtures(hasher: PasswordHasher) -> list[Route]:
    fixtures = Fixtures(hasher)
    return [
        Route("/api/v1/test-fixtures/apply",                                    fixtures,               "apply"),
        Route("/api/v1/test-fixtures/email-verification-token",                 fixtures,               "token"),
    ]
# fmt: on
