"""The work of billing: what Stripe is asked for, and what it tells us."""
