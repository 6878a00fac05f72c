"""A stand-in for Resend's API."""
