"""Requests that a machine has signed: `Authorization: Bearer vault:<signature>` over the bytes of X-Vault-Payload.

Who checks the signature is SERVICE_ISSUE_VERIFIER: `hmac`, a secret that both sides know, or `vault`, Vault's Transit
engine. In development, without either, `Bearer dev-local` is enough.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any

import redis
import urllib3

from edge.errors import Invalid
from edge.request import Request
from edge.schemas.auth.service_accounts import ServiceAccountIssueRequest
from models.platform.errors import BadRequest, NotAuthenticated, Unavailable
from models.platform.redis import fast_redis_client
from models.platform.settings import settings

AUDIENCE = "auth-service"
REQUIRED = ("iss", "aud", "sub", "nonce", "iat", "exp", "account", "scopes")
AHEAD, BEHIND = 30, 600  # seconds that `iat` may lie in the future, and in the past
LONGEST = 600  # seconds from `iat` to `exp`
VAULT_TIMEOUT = 5  # seconds
DEVELOPER = "signer:dev-local"


class NotSigned(NotAuthenticated):
    code = "signature_required"

    def __init__(self, message: str):
        super().__init__(message)
        self.headers.pop("WWW-Authenticate")


class PayloadMismatch(BadRequest):
    code = "signed_payload_mismatch"


class VerifierAway(Unavailable):
    code = "verifier_unavailable"


def require(req: Request, ask: ServiceAccountIssueRequest) -> tuple[ServiceAccountIssueRequest, str]:
    """(what was signed, who has signed it). The signature is checked first: strangers learn nothing of the rest."""
    credential = _credential(req)
    if credential == "dev-local" and settings.service_issue_verifier == "off" and not settings.hardened:
        return ask, DEVELOPER
    payload = _payload(req, credential)
    _check_signature(payload, credential.removeprefix("vault:"))
    claims = _claims(payload)
    _check_time(claims)
    _use_nonce(claims)
    return _agreed(ask, claims), f"signer:{claims['sub']}@{claims['iss']}"[:128]  # never the name of a user


def _credential(req: Request) -> str:
    given = req.get_header("Authorization")
    if given is None:
        raise Invalid.at("header", "Authorization", msg="Field required", code="missing")
    scheme, _, credential = given.partition(" ")
    if scheme.lower() != "bearer":
        raise NotSigned("Authorization header must use Bearer scheme.")
    return credential.strip()


def _payload(req: Request, credential: str) -> bytes:
    if not credential.startswith("vault:"):
        raise NotSigned("Vault-signed credential required for service-account issuance.")
    if settings.service_issue_verifier == "off":
        raise VerifierAway("Vault verification disabled; cannot accept vault credentials.")
    given = req.get_header("X-Vault-Payload")
    if not given:
        raise NotSigned("Missing X-Vault-Payload header.")
    try:
        return base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("Invalid Vault payload encoding.") from None


def _check_signature(payload: bytes, signature: str) -> None:
    good = (
        _by_secret(payload, signature) if settings.service_issue_verifier == "hmac" else _by_vault(payload, signature)
    )
    if not good:
        raise NotSigned("Invalid Vault signature.")


def _by_secret(payload: bytes, signature: str) -> bool:
    if not settings.service_issue_secret:
        raise VerifierAway("Secrets provider not configured for Vault verification.")
    wanted = hmac.new(settings.service_issue_secret.get_secret_value().encode(), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), signature.encode())


def _by_vault(payload: bytes, signature: str) -> bool:
    """Transit verifies the padded base64url of the payload's bytes, itself base64 as its API wants every input."""
    if not (settings.vault_addr and settings.vault_token):
        raise VerifierAway("Secrets provider not configured for Vault verification.")
    headers = {"X-Vault-Token": settings.vault_token.get_secret_value()}
    if settings.vault_namespace:
        headers["X-Vault-Namespace"] = settings.vault_namespace
    text = base64.b64encode(base64.urlsafe_b64encode(payload)).decode()
    try:
        answer = _pool.request(
            "POST",
            f"{settings.vault_addr.rstrip('/')}/v1/transit/verify/{settings.vault_transit_key}",
            json={"input": text, "signature": signature},
            headers=headers,
        )
        if answer.status == 400:  # Vault's answer to what is no signature at all
            return False
        return (answer.status == 200 and answer.json()["data"]["valid"] is True) or _refuse(answer.status)
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError):
        raise VerifierAway("Secrets provider cannot verify signatures.") from None


def _refuse(status: int) -> bool:
    if status != 200:
        raise VerifierAway("Secrets provider cannot verify signatures.")
    return False


_pool = urllib3.PoolManager(timeout=VAULT_TIMEOUT, retries=False)


def _claims(payload: bytes) -> dict[str, Any]:
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


def _check_time(claims: dict[str, Any]) -> None:
    issued, expires, moment = claims["iat"], claims["exp"], time.time()
    for name, value in (("iat", issued), ("exp", expires)):
        if type(value) not in (int, float):
            raise NotSigned(f"Vault payload missing {name}.")
    if expires <= moment:
        raise NotSigned("Vault payload expired.")
    if issued > moment + AHEAD:
        raise NotSigned("Vault payload iat is in the future.")
    if issued < moment - BEHIND or expires > issued + LONGEST:
        raise NotSigned("Vault payload iat outside acceptable window.")


def _use_nonce(claims: dict[str, Any]) -> None:
    """Kept for as long as its payload could be good. Without Redis nothing is accepted."""
    key = f"nonce:{hashlib.sha256(str(claims['nonce']).encode()).hexdigest()}"
    try:
        fresh = fast_redis_client().set(key, 1, nx=True, ex=LONGEST + AHEAD + 1)
    except redis.RedisError:
        raise VerifierAway("The replay of signed requests cannot be ruled out at the moment.") from None
    if not fresh:
        raise NotSigned("Vault payload nonce already used.")


def _agreed(ask: ServiceAccountIssueRequest, claims: dict[str, Any]) -> ServiceAccountIssueRequest:
    """The body may leave out what was signed, but say nothing else. What was not signed is not granted."""
    if ask.account != claims["account"]:
        raise PayloadMismatch("Vault payload account mismatch.")
    if ask.tenant_id != claims.get("tenant_id"):
        raise PayloadMismatch("Vault payload tenant mismatch.")
    if set(ask.scopes) != set(claims["scopes"]):
        raise PayloadMismatch("Vault payload scopes mismatch.")
    filled: dict[str, Any] = {"scopes": claims["scopes"]}
    for name in ("lifetime_minutes", "fingerprint"):
        given, signed = getattr(ask, name), claims.get(name)
        if given is not None and given != signed:
            raise PayloadMismatch(f"Vault payload {'missing ' + name if signed is None else name + ' mismatch'}.")
        filled[name] = signed
    if ask.force and claims.get("force") is not True:
        raise PayloadMismatch("Vault payload force mismatch.")
    return ask.model_copy(update=filled)
