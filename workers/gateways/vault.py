"""HashiCorp Vault, through the `hvac` client: its Transit engine verifies signatures."""

import base64
from functools import cache
from typing import TYPE_CHECKING

from models.platform.settings import settings

if TYPE_CHECKING:
    from hvac import Client

TIMEOUT = 5  # seconds, to connect and again for the answer


class VaultNotConfigured(Exception):
    """VAULT_ADDR or VAULT_TOKEN is not set."""


class VaultUnavailable(Exception):
    """Vault gave no answer that says whether the signature is valid."""


def is_signed(payload: bytes, signature: str) -> bool:
    """Whether VAULT_TRANSIT_KEY made the signature. Raises VaultNotConfigured or VaultUnavailable.

    What is signed is the padded base64url of the payload, itself in base64 as Transit wants all its input.
    """
    client = _configured_client()
    from hvac.exceptions import InvalidRequest, VaultError

    text = base64.b64encode(base64.urlsafe_b64encode(payload)).decode()
    try:
        answer = client.secrets.transit.verify_signed_data(settings.vault_transit_key, text, signature=signature)  # type: ignore[no-untyped-call]
        return answer["data"]["valid"] is True
    except InvalidRequest:  # 400: the text is no signature at all
        return False
    except (VaultError, OSError, KeyError, TypeError, ValueError) as error:  # OSError: what `requests` raises
        raise VaultUnavailable(type(error).__name__) from error


def _configured_client() -> "Client":
    if not (settings.vault_addr and settings.vault_token):
        raise VaultNotConfigured()
    return _client(settings.vault_addr, settings.vault_token.get_secret_value(), settings.vault_namespace)


@cache
def _client(address: str, token: str, namespace: str | None) -> "Client":
    # PERF: imported on first use; hvac and requests cost an edge process several MB.
    import hvac

    client = hvac.Client(address, token=token, namespace=namespace, timeout=TIMEOUT, allow_redirects=False)
    client.adapter.session.trust_env = False  # no proxy and no .netrc between us and Vault
    return client
