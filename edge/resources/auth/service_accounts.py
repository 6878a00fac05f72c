"""Tokens of service accounts: issued to machines that sign, or by admins and operators; listed, revoked."""

import falcon

from edge import request_signatures
from edge.auth import allow, public
from edge.metrics import SERVICE_TOKENS
from edge.middleware import client_info
from edge.openapi import describes
from edge.schemas.auth import service_accounts as schemas
from edge.schemas.common import SuccessResponse
from edge.validation import body, query
from models.auth.service_accounts import ServiceToken, catalogue
from models.platform.clock import iso
from models.platform.errors import BadRequest, DomainError, Forbidden
from models.platform.ids import parse_uuid
from models.platform.principal import Principal

OPERATOR_HEADERS = ("X-Operator-Override", "X-Operator-Reason")


class TenantNotYours(Forbidden):
    code = "tenant_mismatch"


class ServiceAccountIssue:
    """For machines: no user, a signed request."""

    @describes(
        "Issue Service Account Token",
        "auth",
        body=schemas.ServiceAccountIssueRequest,
        answers={201: schemas.ServiceAccountTokenResponse},
        headers=("X-Vault-Payload",),
        required_headers=("Authorization",),
    )
    @public
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        ask, signer = request_signatures.require(req, body(req, schemas.ServiceAccountIssueRequest))
        resp.status = falcon.HTTP_201
        resp.media = issue(req, ask, by=signer)


class ServiceAccounts:
    """For a tenant's admins, and for operators who say why."""

    @describes(
        "Issue Service Account Token From Browser",
        "auth",
        body=schemas.BrowserServiceAccountIssueRequest,
        answers={201: schemas.ServiceAccountTokenResponse},
        headers=OPERATOR_HEADERS,
        tenant=True,
    )
    @allow(role="admin", people=True, override=True)
    def on_post_browser(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, body(req, schemas.BrowserServiceAccountIssueRequest)
        if not ask.reason.strip():
            raise BadRequest("Reason is required for auditing.")
        if not me.override:
            ask = ask.model_copy(
                update={"tenant_id": _own(me, ask.tenant_id, "Tenant mismatch for service-account issuance.")}
            )
        resp.status = falcon.HTTP_201
        resp.media = issue(req, ask, by=me, reason=ask.reason.strip())

    @describes(
        "List Service Account Tokens",
        "auth",
        query=schemas.ServiceAccountTokenQuery,
        answers={200: schemas.ServiceAccountTokenListResponse},
        headers=OPERATOR_HEADERS,
        tenant=True,
    )
    @allow(role="admin", people=True, override=True)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        me, ask = req.context.principal, query(req, schemas.ServiceAccountTokenQuery)
        if not me.override:
            _own(me, ask.tenant_id, "Tenant administrators may only query their own tenant.")
        tenant_id = parse_uuid(ask.tenant_id)
        if ask.tenant_id and tenant_id is None:
            raise BadRequest("The tenant identifier is not a UUID.")
        found, total = ServiceToken.page(me, **{**ask.model_dump(), "tenant_id": tenant_id})
        items = [show(token) for token in found]
        resp.media = {"items": items, "total": total, "limit": ask.limit, "offset": ask.offset}

    @describes(
        "Revoke Service Account Token",
        "auth",
        body=schemas.ServiceAccountTokenRevokeRequest,
        answers={200: SuccessResponse},
        headers=OPERATOR_HEADERS,
        tenant=True,
    )
    @allow(role="admin", people=True, override=True)
    def on_post_revoke(self, req: falcon.Request, resp: falcon.Response, jti: str) -> None:
        me, ask = req.context.principal, body(req, schemas.ServiceAccountTokenRevokeRequest)
        reason = (ask.reason or "").strip() or (me.override or "")[:256] or "tenant_admin_manual_revoke"
        ServiceToken.revoke(me, parse_uuid(jti), reason, client=client_info(req))
        resp.media = {"success": True, "message": "Service account token revoked.", "data": {"jti": jti}}


def _own(me: Principal, asked: str | None, refusal: str) -> str:
    """An admin's own tenant; 403 for another."""
    if asked and parse_uuid(asked) != me.tenant_id:
        raise TenantNotYours(refusal)
    return str(me.tenant_id)


def issue(
    req: falcon.Request, ask: schemas.ServiceAccountIssueRequest, *, by: Principal | str, reason: str | None = None
) -> dict:
    known = ask.account if ask.account in catalogue() else "unknown"
    try:
        row, token = ServiceToken.issue(
            account=ask.account,
            scopes=ask.scopes,
            tenant_id=ask.tenant_id,
            lifetime_minutes=ask.lifetime_minutes,
            fingerprint=ask.fingerprint,
            force=ask.force,
            by=by,
            reason=reason,
            client=client_info(req),
        )
    except DomainError as error:
        SERVICE_TOKENS.labels(known, error.code).inc()
        raise
    SERVICE_TOKENS.labels(known, "success").inc()
    return {
        "refresh_token": token,
        "issued_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "scopes": row.scopes,
        "tenant_id": str(row.tenant_id) if row.tenant_id else None,
        "kid": row.signing_kid,
        "account": row.account,
        "token_use": "refresh",
        "session_id": str(row.id),
    }


def show(row: ServiceToken) -> dict:
    return {
        "jti": str(row.id),
        "account": row.account,
        "tenant_id": str(row.tenant_id) if row.tenant_id else None,
        "scopes": row.scopes,
        "issued_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at) if row.revoked_at else None,
        "revoked_reason": row.revoked_reason,
        "fingerprint": row.fingerprint,
        "signing_kid": row.signing_kid,
        "issued_by": row.issued_by,
    }
