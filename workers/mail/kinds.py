"""Every mail that is sent: its template, and what it is about."""

from typing import NamedTuple

ACCOUNT, BILLING, CONTACT, SIGNUP, STATUS = "account", "billing", "contact", "signup", "status_subscription"
RESET, TEST, VERIFICATION = "password_reset", "test", "email_verification"
CATEGORIES = (ACCOUNT, BILLING, CONTACT, RESET, SIGNUP, STATUS, TEST, VERIFICATION)


class Kind(NamedTuple):
    """`is_security`: also sent to somebody who has complained about a mail, for without it an account is lost."""

    category: str
    is_security: bool = False


KINDS = {
    "access_known": Kind(SIGNUP),
    "access_received": Kind(SIGNUP),
    "access_rejected": Kind(SIGNUP),
    "access_requested": Kind(SIGNUP),
    "account_locked": Kind(ACCOUNT, is_security=True),
    "billing_limit_100": Kind(BILLING),
    "billing_limit_80": Kind(BILLING),
    "billing_operation_failed": Kind(BILLING),
    "billing_payment_action_required": Kind(BILLING),
    "billing_payment_failed": Kind(BILLING),
    "billing_subscription_canceled": Kind(BILLING),
    "billing_test": Kind(BILLING),
    "billing_trial_will_end": Kind(BILLING),
    "contact": Kind(CONTACT),
    "invite": Kind(SIGNUP),
    "password_changed": Kind(ACCOUNT, is_security=True),
    "password_reset": Kind(ACCOUNT, is_security=True),
    "reset_password": Kind(RESET, is_security=True),
    "status_confirm": Kind(STATUS),
    "status_disabled": Kind(STATUS),
    "status_incident": Kind(STATUS),
    "status_subscribed_already": Kind(STATUS),
    "test": Kind(TEST),
    "verify_email": Kind(VERIFICATION, is_security=True),
}
