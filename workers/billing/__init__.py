"""Everything of billing that calls Stripe, or follows from what Stripe says."""
