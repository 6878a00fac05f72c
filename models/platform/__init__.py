"""What all features use: settings, the database, Redis, errors, limits, the audit log. It knows none of them."""
