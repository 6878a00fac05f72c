"""What every family builds on: settings, the database, errors, limits, the audit log. Knows no feature."""
