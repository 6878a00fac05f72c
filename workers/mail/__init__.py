"""The mails, as jobs: no request waits for a mail server, or reveals by its timing whether an address has an account."""
