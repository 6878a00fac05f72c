"""THE ROUTES: every path on one line."""

from edge.metrics import Metrics
from edge.openapi import OpenApi
from edge.reference import Reference
from edge.resources.agents import Agents, Tools
from edge.resources.auth.passwords import Email, Password
from edge.resources.auth.service_accounts import ServiceAccountIssue, ServiceAccounts
from edge.resources.auth.sessions import Logout, Me, Refresh, Sessions, Token
from edge.resources.auth.signup import Invites, Register, RequestAccess, SignupPolicy, SignupRequests
from edge.resources.chat import Chat, ChatStream
from edge.resources.conversations import Conversations
from edge.resources.health import Health, Jwks, Root
from edge.resources.runs import Runs


def routes() -> list[tuple[str, object, str | None]]:
    """(path, resource, responder suffix)"""
    health, agents, conversations, runs, reference = Health(), Agents(), Conversations(), Runs(), Reference()
    logout, sessions, email, password = Logout(), Sessions(), Email(), Password()
    requests, invites, machines = SignupRequests(), Invites(), ServiceAccounts()
    # fmt: off
    return [
        ("/",                                                  Root(),                 None),
        ("/health",                                            health,                 None),
        ("/health/ready",                                      health,                 "ready"),
        ("/health/storage",                                    health,                 "storage"),
        ("/metrics",                                           Metrics(),              None),
        ("/openapi.json",                                      OpenApi(),              None),
        ("/docs",                                              reference,              None),
        ("/docs/{name}",                                       reference,              "asset"),
        ("/.well-known/jwks.json",                             Jwks(),                 None),
        ("/api/v1/auth/token",                                 Token(),                None),
        ("/api/v1/auth/refresh",                               Refresh(),              None),
        ("/api/v1/auth/logout",                                logout,                 None),
        ("/api/v1/auth/logout/all",                            logout,                 "all"),
        ("/api/v1/auth/sessions",                              sessions,               None),
        ("/api/v1/auth/sessions/{session_id:uuid}",                 sessions,               "one"),
        ("/api/v1/auth/email/send",                            email,                  "send"),
        ("/api/v1/auth/email/verify",                          email,                  "verify"),
        ("/api/v1/auth/password/forgot",                       password,               "forgot"),
        ("/api/v1/auth/password/confirm",                      password,               "confirm"),
        ("/api/v1/auth/password/change",                       password,               "change"),
        ("/api/v1/auth/password/reset",                        password,               "reset"),
        ("/api/v1/auth/signup-policy",                         SignupPolicy(),         None),
        ("/api/v1/auth/register",                              Register(),             None),
        ("/api/v1/auth/request-access",                        RequestAccess(),        None),
        ("/api/v1/auth/signup-requests",                       requests,               None),
        ("/api/v1/auth/signup-requests/{request_id:uuid}/approve",  requests,               "approve"),
        ("/api/v1/auth/signup-requests/{request_id:uuid}/reject",   requests,               "reject"),
        ("/api/v1/auth/invites",                               invites,                None),
        ("/api/v1/auth/invites/{invite_id:uuid}/revoke",            invites,                "revoke"),
        ("/api/v1/auth/service-accounts/issue",                ServiceAccountIssue(),  None),
        ("/api/v1/auth/service-accounts/browser-issue",        machines,               "browser"),
        ("/api/v1/auth/service-accounts/tokens",               machines,               None),
        ("/api/v1/auth/service-accounts/tokens/{jti}/revoke",  machines,               "revoke"),
        ("/api/v1/auth/me",                                    Me(),                   None),
        ("/api/v1/chat",                                       Chat(),                 None),
        ("/api/v1/chat/stream",                                ChatStream(),           None),
        ("/api/v1/agents",                                     agents,                 None),
        ("/api/v1/agents/{agent_name}/status",                 agents,                 "status"),
        ("/api/v1/tools",                                      Tools(),                None),
        ("/api/v1/conversations",                              conversations,          None),
        ("/api/v1/conversations/{conversation_id}",            conversations,          "one"),
        ("/api/v1/conversations/{conversation_id}/events",     conversations,          "events"),
        ("/api/v1/runs/{run_id}",                              runs,                   None),
        ("/api/v1/runs/{run_id}/stream",                       runs,                   "stream"),
        ("/api/v1/runs/{run_id}/cancel",                       runs,                   "cancel"),
    ]
    # fmt: on
