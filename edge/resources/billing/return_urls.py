"""Where Stripe's pages lead back to: only to sites of ours, so that nobody's link ends on somebody else's page."""

from edge.errors import Invalid
from models.platform.connections import split
from models.platform.settings import settings

NOT_OURS = "must be a page of APP_PUBLIC_URL or of ALLOWED_ORIGINS"


def checked(name: str, url: str | None) -> str:
    """The URL of the field `name`; without one, the installation's site. Invalid (422) for any other site."""
    if url is None:
        return settings.app_public_url
    if _origin(url) not in _ours():
        raise Invalid.at("body", name, msg=NOT_OURS, code="url_not_allowed")
    return url


def _ours() -> set[str]:
    origins = {_origin(address) for address in (settings.app_public_url, *settings.items(settings.allowed_origins))}
    return {origin for origin in origins if origin}


def _origin(address: str) -> str | None:
    """Scheme, host and port; None for what a browser could read in another way than we do."""
    if not address.isascii() or not address.isprintable() or any(sign in address for sign in ' \\"<>^`|'):
        return None
    url = split(address)
    if url is None or url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
        return None
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    return f"{url.scheme}://{url.hostname}:{port}"
