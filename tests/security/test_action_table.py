"""The table of actions against what asks it: every route has a line, every line is used, and what it gives is pinned."""

import re
from pathlib import Path

import pytest

from edge.routes import routes
from models.auth.service_account_catalogue import catalogue
from models.platform import authorization
from models.platform.authorization import actions, may
from models.platform.ids import uuid7
from models.platform.principal import GRANTS, Principal, scopes_for
from tests.support.accounts import CHEAP_HASHER
from tests.support.routes import EVERYTHING

SOURCES = [path for folder in ("models", "edge") for path in Path(folder).rglob("*.py")]
DECLARED = {
    (method, route.path): operation.action
    for route in routes(EVERYTHING, CHEAP_HASHER)
    for method, operation in route.operations.items()
}
PUBLIC_ROUTES = {
    ("get", "/"),
    ("get", "/health"),
    ("get", "/health/ready"),
    ("get", "/health/storage"),
    ("get", "/metrics"),
    ("get", "/docs"),
    ("get", "/docs/{name}"),
    ("get", "/openapi.json"),
    ("get", "/robots.txt"),
    ("get", "/.well-known/jwks.json"),
    ("post", "/api/v1/auth/token"),
    ("post", "/api/v1/auth/refresh"),
    ("post", "/api/v1/auth/email/verify"),
    ("post", "/api/v1/auth/password/forgot"),
    ("post", "/api/v1/auth/password/confirm"),
    ("get", "/api/v1/auth/signup-policy"),
    ("post", "/api/v1/auth/register"),
    ("post", "/api/v1/auth/request-access"),
    ("post", "/api/v1/auth/service-accounts/issue"),
    ("post", "/api/v1/contact"),
    ("post", "/api/v1/logs"),
    ("get", "/api/v1/billing/plans"),
    ("get", "/status"),
    ("get", "/status/history"),
    ("get", "/status/incidents/{slug}"),
    ("get", "/status/subscribe"),
    ("post", "/status/subscribe"),
    ("get", "/status/confirm"),
    ("post", "/status/confirm"),
    ("get", "/status/unsubscribe"),
    ("post", "/status/unsubscribe"),
    ("post", "/api/v1/status/subscriptions"),
    ("post", "/api/v1/status/subscriptions/verify"),
    ("post", "/api/v1/status/subscriptions/challenge"),
    ("delete", "/api/v1/status/subscriptions/{subscription_id:uuid}"),
    ("post", "/api/v1/test-fixtures/apply"),
    ("post", "/api/v1/test-fixtures/email-verification-token"),
    ("post", "/webhooks/resend"),
    ("get", "/api/v1/status"),
    ("get", "/api/v1/status.rss"),
    ("get", "/api/v1/status/atom"),
    ("get", "/api/v1/status/incidents/{incident_id}"),
    ("get", "/api/v1/status/rss"),
    *(
        ("get", f"/api/v2/{name}.json")
        for name in ("summary", "status", "components", "incidents", "incidents/unresolved", "scheduled-maintenances")
    ),
    *(("get", f"/api/v2/scheduled-maintenances/{name}.json") for name in ("upcoming", "active")),
    ("post", "/webhooks/stripe"),
}
VIEWER = {
    "account.own",
    "agent.read",
    "container.read",
    "conversation.read",
    "run.read",
    "storage.read",
    "vector_store.read",
    "workflow.read",
}
MEMBER = VIEWER | {
    "approval.decide",
    "conversation.ask",
    "conversation.rename",
    "run.cancel",
    "run.retry",
    "storage.upload",
}
ADMIN = MEMBER | {
    "billing.manage",
    "billing.read",
    "container.manage",
    "conversation.delete",
    "member.add",
    "member.change_role",
    "member.remove",
    "password.reset",
    "service_token.issue",
    "service_token.read",
    "service_token.revoke",
    "status_subscription.manage",
    "storage.delete",
    "tenant_settings.change",
    "tenant_settings.read",
    "vector_store.manage",
}
INVITES = {"invite.issue", "invite.read", "invite.revoke"}
REQUESTS = {"signup_request.approve", "signup_request.read", "signup_request.reject"}
STATUS = {"status.operate"}
OPERATORS = {
    "billing.operate",
    "contact.operate",
    "mail.operate",
    "operator.grant",
    "operator.revoke",
    "user.disable",
    "user.enable",
    "user.sign_out",
}
MACHINES = {
    "analytics-batch": {"conversation.read", "run.read", "workflow.read"},
    "billing-worker": {"billing.manage", "billing.read"},
    "synthetic-monitor": {
        "agent.read",
        "billing.read",
        "conversation.ask",
        "conversation.rename",
        "run.cancel",
        "run.retry",
    },
    "demo-bot": set(),
    "support-console": {"agent.read"},  # elsewhere more, with a reason
}
THERE = {
    "agent.read",
    "billing.manage",
    "billing.read",
    "container.manage",
    "container.read",
    "conversation.ask",
    "conversation.delete",
    "conversation.read",
    "conversation.rename",
    "run.cancel",
    "run.read",
    "run.retry",
    "status_subscription.manage",
    "storage.delete",
    "storage.read",
    "storage.upload",
    "tenant_settings.change",
    "tenant_settings.read",
    "vector_store.manage",
    "vector_store.read",
    "workflow.read",
}


def allowed(principal):
    return {action.name for action in actions().values() if not action.public and may(principal, action)}


def member(role, *grants):
    return Principal(uuid7(), uuid7(), role, frozenset((*scopes_for(role), *grants)), None, True)


@pytest.mark.parametrize(("route", "action"), DECLARED.items())
def test_the_action_of_every_route_is_in_the_table(route, action):
    assert actions()[action.name] is action
    assert action.public is (route in PUBLIC_ROUTES)


@pytest.mark.parametrize("name", [name for name, value in vars(authorization).items() if value in actions().values()])
def test_every_action_of_the_table_is_used(name):
    table = Path(authorization.__file__)
    users = [path for path in SOURCES if path.resolve() != table and re.search(rf"\b{name}\b", path.read_text())]
    assert users, f"nothing asks for {name}"


def test_the_names_of_the_table_are_unique():
    lines = re.findall(r'^[A-Z_]+ += Action\("([a-z_.]+)"', Path(authorization.__file__).read_text(), re.MULTILINE)
    assert len(lines) == len(set(lines)) == len(actions()) > 10


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (member("viewer"), VIEWER),
        (member("member"), MEMBER),
        (member("admin"), ADMIN),
        (member("owner"), ADMIN),
        (member("viewer", "auth:invites"), VIEWER | INVITES),
        (member("viewer", "auth:signup_requests"), VIEWER | REQUESTS),
        (member("viewer", "status:operate"), VIEWER | STATUS),
        (member("viewer", "platform:operator"), VIEWER | OPERATORS),
        (
            member("viewer", "support:*"),
            (MEMBER - {"storage.upload"}) | {"billing.read"} | INVITES | REQUESTS | STATUS | OPERATORS,
        ),
    ],
)
def test_what_people_may_do(principal, expected):
    assert allowed(principal) == expected


@pytest.mark.parametrize("name", catalogue())
def test_what_the_packaged_service_accounts_may_do(name):
    account = catalogue()[name]
    tenant_id = uuid7() if account.tenant == "required" else None
    machine = Principal(None, tenant_id, scopes=frozenset(account.scopes), email_verified=True, account=name)
    assert allowed(machine) == MACHINES[name]


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ("support:*", {*THERE, "service_token"}),
        ("platform:operator", {"service_token"}),
        ("auth:invites", set()),
        ("status:operate", set()),
    ],
)
def test_what_operators_may_do_elsewhere(grant, expected):
    there = set()
    for action in actions().values():
        if authorization.can_act_elsewhere(member("owner", grant), action) and action.name not in OPERATORS:
            acting = authorization.elsewhere(member("owner", grant), action, uuid7(), "a reason")
            there |= {action.name} if may(acting, action) else set()
    assert {name.split(".")[0] if "token" in name else name for name in there} == expected


def test_grants_come_from_no_membership():
    assert all(GRANTS.isdisjoint(scopes_for(role)) for role in ("viewer", "member", "editor", "admin", "owner"))
