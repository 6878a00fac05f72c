"""Requests that a machine has signed: `Authorization: Bearer vault:<signature>` over the bytes of X-Vault-Payload.

SERVICE_ISSUE_VERIFIER says who checks the signature: `hmac`, with a secret that both sides know, or `vault`, Vault's
Transit engine. In development, without either, SERVICE_ISSUE_DEV_LOCAL lets a caller on this machine send
`Bearer dev-local` instead.
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from typing import Any

from edge import metrics
from edge.errors import Invalid
from edge.request import Request
from edge.schemas.auth.service_accounts import ServiceAccountIssueRequest
from models.auth import request_nonces
from models.platform.connections import is_local
from models.platform.errors import BadRequest, NotAuthenticated, Unavailable
from models.platform.settings import settings
from workers.gateways import vault

AUDIENCE = "auth-service"
REQUIRED = ("iss", "aud", "sub", "nonce", "iat", "exp", "account", "scopes")
MAX_AHEAD, MAX_AGE = 30, 600  # seconds that `iat` may lie in the future, and in the past
MAX_LIFETIME = 600  # seconds from `iat` to `exp`
DEVELOPER = "signer:dev-local"
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")  # what proxies add
SIGNER_LENGTH = 128  # characters of a signer's name that are kept


class NotSigned(NotAuthenticated):
    code = "signature_required"

    def __init__(self, message: str):
        super().__init__(message)
        self.headers.pop("WWW-Authenticate")


class PayloadMismatch(BadRequest):
    code = "signed_payload_mismatch"


class VerifierUnavailable(Unavailable):
    code = "verifier_unavailable"


def require(req: Request, body: ServiceAccountIssueRequest) -> tuple[ServiceAccountIssueRequest, str]:
    """(the request with what was signed, the signer's name). Raises NotSigned, BadRequest or Unavailable.

    The signature is checked before anything else, so that a stranger learns nothing about the other rules.
    """
    credential = _credential(req)
    if credential == "dev-local" and _is_developer(req):
        return body, DEVELOPER
    payload = _payload(req, credential)
    if not _is_signed(payload, credential.removeprefix("vault:")):
        raise NotSigned("Invalid Vault signature.")
    claims = _claims(payload)
    _check_times(claims)
    _use_nonce(claims)
    # The prefix keeps a signer from posing as a user.
    return _merge(body, claims), f"signer:{claims['sub']}@{claims['iss']}"[:SIGNER_LENGTH]


def _is_developer(req: Request) -> bool:
    """Whether the request comes from this machine itself, not through a proxy on it, and the setting allows that."""
    if settings.hardened or not settings.service_issue_dev_local or settings.service_issue_verifier != "off":
        return False
    return bool(req.remote_addr) and is_local(req.remote_addr) and not any(req.get_header(name) for name in FORWARDED)


def _credential(req: Request) -> str:
    header = req.get_header("Authorization")
    if header is None:
        raise Invalid.at("header", "Authorization", msg="Field required", code="missing")
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "bearer":
        raise NotSigned("Authorization header must use Bearer scheme.")
    return credential.strip()


def _payload(req: Request, credential: str) -> bytes:
    if not credential.startswith("vault:"):
        raise NotSigned("Vault-signed credential required for service-account issuance.")
    if settings.service_issue_verifier == "off":
        raise VerifierUnavailable("Vault verification disabled; cannot accept vault credentials.")
    header = req.get_header("X-Vault-Payload")
    if not header:
        raise NotSigned("Missing X-Vault-Payload header.")
    try:
        return base64.b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("Invalid Vault payload encoding.") from None


def _is_signed(payload: bytes, signature: str) -> bool:
    if settings.service_issue_verifier == "hmac":
        return _is_signed_with_secret(payload, signature)
    try:
        return vault.is_signed(payload, signature)
    except vault.VaultNotConfigured:
        raise VerifierUnavailable("Secrets provider not configured for Vault verification.") from None
    except vault.VaultUnavailable:
        raise VerifierUnavailable("Secrets provider cannot verify signatures.") from None


def _is_signed_with_secret(payload: bytes, signature: str) -> bool:
    if not settings.service_issue_secret:
        raise VerifierUnavailable("Secrets provider not configured for Vault verification.")
    secret = settings.service_issue_secret.get_secret_value().encode()
    expected = hmac.new(secret, payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _claims(payload: bytes) -> dict[str, Any]:
    """The signed claims; those that REQUIRED names are there, and all have the right type."""
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadRequest("Invalid Vault payload JSON.") from None
    if not isinstance(claims, dict):
        raise BadRequest("Unexpected Vault payload shape.")
    if missing := [name for name in REQUIRED if claims.get(name) in (None, "")]:
        raise NotSigned(f"Vault payload missing fields: {', '.join(missing)}")
    if not isinstance(claims["aud"], list) or AUDIENCE not in claims["aud"]:
        raise NotSigned("Vault payload audience invalid.")
    if not isinstance(claims["scopes"], list) or not all(isinstance(scope, str) for scope in claims["scopes"]):
        raise NotSigned("Vault payload scopes must be a list.")
    minutes, fingerprint = claims.get("lifetime_minutes"), claims.get("fingerprint")
    if minutes is not None and (type(minutes) is not int or minutes <= 0):
        raise NotSigned("Vault payload lifetime_minutes must be a positive integer.")
    if fingerprint is not None and not isinstance(fingerprint, str):
        raise NotSigned("Vault payload fingerprint invalid.")
    return claims


def _check_times(claims: dict[str, Any]) -> None:
    for name in ("iat", "exp"):
        if type(claims[name]) not in (int, float) or not math.isfinite(
            claims[name]
        ):  # JSON has no NaN, but Python reads it
            raise NotSigned(f"Vault payload missing {name}.")
    issued, expires, moment = claims["iat"], claims["exp"], time.time()
    if expires <= moment:
        raise NotSigned("Vault payload expired.")
    if issued > moment + MAX_AHEAD:
        raise NotSigned("Vault payload iat is in the future.")
    if issued < moment - MAX_AGE or expires > issued + MAX_LIFETIME:
        raise NotSigned("Vault payload iat outside acceptable window.")


def _use_nonce(claims: dict[str, Any]) -> None:
    """The nonce is remembered for as long as its payload could be accepted."""
    is_new = request_nonces.use(str(claims["nonce"]), MAX_LIFETIME + MAX_AHEAD + 1)
    (metrics.NONCES_NEW if is_new else metrics.NONCES_SEEN).inc()
    if not is_new:
        raise NotSigned("Vault payload nonce already used.")


def _merge(body: ServiceAccountIssueRequest, claims: dict[str, Any]) -> ServiceAccountIssueRequest:
    """The body, completed with what was signed. Raises PayloadMismatch for anything in it that was not signed."""
    if body.account != claims["account"]:
        raise PayloadMismatch("Vault payload account mismatch.")
    if body.tenant_id != claims.get("tenant_id"):
        raise PayloadMismatch("Vault payload tenant mismatch.")
    if set(body.scopes) != set(claims["scopes"]):
        raise PayloadMismatch("Vault payload scopes mismatch.")
    signed = {
        "scopes": claims["scopes"],
        "lifetime_minutes": _signed_value("lifetime_minutes", body.lifetime_minutes, claims),
        "fingerprint": _signed_value("fingerprint", body.fingerprint, claims),
    }
    if body.force and claims.get("force") is not True:
        raise PayloadMismatch("Vault payload force mismatch.")
    return body.model_copy(update=signed)


def _signed_value(name: str, value: object, claims: dict[str, Any]) -> object:
    """The signed value. The body may leave it out, but not say anything else."""
    signed = claims.get(name)
    if value is not None and value != signed:
        raise PayloadMismatch(f"Vault payload {'missing ' + name if signed is None else name + ' mismatch'}.")
    return signed
