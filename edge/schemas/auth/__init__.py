"""The tag `auth`: accounts, sessions, sign-up, service accounts."""
