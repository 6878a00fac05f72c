"""Responders, one file per tag of the contract: parse, decide, answer."""
