"""Values for each mail, as they may be: to look at templates (`./dev mail preview`), and to test them."""

from types import SimpleNamespace
from typing import Any

_CODE = f"{'0123456789abcdef' * 2}.{'fedcba9876543210' * 4}"
_TENANT: dict[str, Any] = {"tenant": "Acme"}
_LIMIT = _TENANT | {"feature_key": "messages", "limit": 1000, "used": 800, "window_end": "2026-02-01 00:00 UTC"}
_PAYMENT = _TENANT | {
    "amount": "99.00 USD",
    "number": "A-1",
    "next_attempt_at": "2026-01-05 09:00 UTC",
    "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_1?s=ap&x=1",
}
_CODES: dict[str, Any] = {"token": _CODE, "minutes": 60, "expiry": "2026-01-01 10:00 UTC", "email": "jo@example.com"}
UNSUBSCRIBE_URL = f"https://status.example.com/status/unsubscribe?subscription_id=019b0000-0000-7000-8000-000000000000&token={'t' * 43}"

SAMPLES: dict[str, dict[str, Any]] = {
    "access_known": {},
    "access_received": {},
    "access_rejected": {},
    "access_requested": {
        "request": SimpleNamespace(
            email="jo@example.com", organization="Acme", message="We would like to try it.\n\nJo"
        )
    },
    "account_locked": {"minutes": 60},
    "billing_limit_100": _LIMIT,
    "billing_limit_80": _LIMIT,
    "billing_operation_failed": _TENANT | {"operation": "change_plan", "message": "Your card was declined."},
    "billing_payment_action_required": _PAYMENT,
    "billing_payment_failed": _PAYMENT,
    "billing_subscription_canceled": _TENANT | {"ended_at": "2026-01-01 10:00 UTC"},
    "billing_test": _TENANT,
    "billing_trial_will_end": _TENANT | {"trial_ends_at": "2026-01-08 10:00 UTC"},
    "contact": {
        "prefix": "[Contact]",
        "topic": "Sales",
        "name": "Jo Doe",
        "email": "jo@example.com",
        "company": None,
        "reference": "019b0000-0000-7000-8000-000000000000",
        "ip": "203.0.113.7",
        "user_agent": "Mozilla/5.0",
        "message": "Hello,\n\nhow much is it for 500 people?",
    },
    "invite": {"token": _CODE, "expiry": "2026-01-08 10:00 UTC"},
    "password_changed": {},
    "password_reset": {},
    "reset_password": _CODES,
    "status_confirm": {
        "alerts": "major incidents (API, Chat)",
        "is_change": False,
        "confirm_url": f"https://status.example.com/status/confirm?subscription_id=019b0000-0000-7000-8000-000000000000&token={'c' * 43}",
        "expiry": "2026-01-02 10:00 UTC",
    },
    "status_disabled": {
        "target": "https://hooks.example.com",
        "since": "2026-01-01 10:00 UTC",
        "reason": "It did not answer in time.",
        "subscription_id": "019b0000-0000-7000-8000-000000000000",
    },
    "status_incident": {
        "kind": "incident",
        "title": "Chats answer slowly",
        "state": "investigating",
        "services": ["API", "Chat"],
        "impact": "First tokens take 20 seconds.",
        "starts_at": "2026-01-01 09:58 UTC",
        "until": None,
        "text": "We see many timeouts of the model provider.\n\nNext update within an hour.",
        "url": "https://status.example.com/status/incidents/chat-slow-2026-01-01",
    },
    "status_subscribed_already": {"alerts": "all incidents and maintenance"},
    "test": {},
    "verify_email": _CODES,
}
