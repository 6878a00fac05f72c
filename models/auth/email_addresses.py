"""E-mail addresses: the one form in which they are stored, compared and counted."""


def normalize_email(email: str) -> str:
    """The address without surrounding blanks, in lower case. It is not checked: the edge's schemas do that."""
    return email.strip().lower()
