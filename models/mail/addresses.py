"""Mail addresses in logs and lists, where nobody needs to see all of one."""

import re

# In a text, quotes and braces are around an address; their number is limited, so that a long text takes no long time.
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"'@{}]{1,128}@[^\s<>()\[\],;:\"'@{}]+")
_SINGLE = re.compile(
    r"[^\s<>()\[\],;:\"@\\\x00-\x1f\x7f\ud800-\udfff]+@[^\s<>()\[\],;:\"'@{}\\\x00-\x1f\x7f\ud800-\udfff]+"
)


def masked(address: str) -> str:
    """`j***@example.com`; `***` for what is no address."""
    local, at, domain = address.rpartition("@")
    return f"{local[0]}***@{domain}" if local and at and domain else "***"


def without_addresses(text: str) -> str:
    """The text with every mail address in it masked."""
    return _ADDRESS.sub(lambda found: masked(found[0]), text)


def is_single(address: str) -> bool:
    """Whether this is the address of one mailbox however a header is read: no name, no list, no comment, no line break."""
    return _SINGLE.fullmatch(address) is not None
