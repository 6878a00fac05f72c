"""Billing in tests: what it is configured with."""

# The settings of a process with billing. The keys are those of no account.
BILLING = {"enable_billing": True, "stripe_secret_key": "sk_test_longshore", "stripe_webhook_secret": "whsec_longshore"}
