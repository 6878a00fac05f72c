"""If-Match, for rows whose ETag is their version."""

import re

from edge.request import Request

TAG = re.compile("[0-9]{1,9}")


def versions(req: Request) -> list[int] | None:
    """The versions that If-Match names; None for any. Weak tags and those that are not ours match none (RFC 9110, 13.1.1)."""
    if not (req.get_header("If-Match") or "").strip():
        return None
    tags = req.if_match or []
    if "*" in tags:
        return None
    ours = [tag for tag in tags if not getattr(tag, "is_weak", False) and TAG.fullmatch(tag)]
    return [int(tag) for tag in ours]
