"""Tokens of service accounts: issued to machines that sign their request, or by admins and operators; listed, revoked."""

import time

import falcon

from edge import metrics, request_signatures
from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.auth import service_accounts as schemas
from edge.schemas.common import SuccessResponse
from models.auth import service_token_issuing
from models.auth.service_account_catalogue import catalogue
from models.auth.service_token_issuing import ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.platform.authorization import PUBLIC, SERVICE_TOKEN_ISSUE, SERVICE_TOKEN_READ, SERVICE_TOKEN_REVOKE, Caller
from models.platform.errors import BadRequest, DomainError, Forbidden
from models.platform.ids import parse_uuid
from models.platform.principal import Principal, Root

REASON_LENGTH = 256  # characters of the reason that a revoked token keeps


class TenantNotYours(Forbidden):
    code = "tenant_mismatch"


class ServiceAccountIssue:
    """For machines, which have no user: they sign the request."""

    @endpoint(
        "Issue Service Account Token",
        "auth",
        action=PUBLIC,
        status=201,
        headers=("X-Vault-Payload",),
        required_headers=("Authorization",),
    )
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.ServiceAccountIssueRequest
    ) -> schemas.ServiceAccountTokenResponse:
        signed, signer = request_signatures.require(req, body)
        return issue(req, signed, by=Root(signer))


class ServiceAccounts:
    """For a tenant's admins, and for operators with an override."""

    @endpoint(
        "Issue Service Account Token From Browser",
        "auth",
        action=SERVICE_TOKEN_ISSUE,
        status=201,
        tenant=True,
    )
    def on_post_browser(
        self, req: Request, resp: falcon.Response, body: schemas.BrowserServiceAccountIssueRequest
    ) -> schemas.ServiceAccountTokenResponse:
        principal = req.context.principal
        if not body.reason.strip():
            raise BadRequest("Reason is required for auditing.")
        if not principal.override:
            tenant_id = _own_tenant(principal, body.tenant_id, "Tenant mismatch for service-account issuance.")
            body = body.model_copy(update={"tenant_id": tenant_id})
        return issue(req, body, by=principal, reason=body.reason.strip())

    @endpoint("List Service Account Tokens", "auth", action=SERVICE_TOKEN_READ, tenant=True)
    def on_get(
        self, req: Request, resp: falcon.Response, query: schemas.ServiceAccountTokenQuery
    ) -> schemas.ServiceAccountTokenListResponse:
        principal = req.context.principal
        if not principal.override:
            _own_tenant(principal, query.tenant_id, "Tenant administrators may only query their own tenant.")
        tenant_id = parse_uuid(query.tenant_id)
        if query.tenant_id and tenant_id is None:
            raise BadRequest("The tenant identifier is not a UUID.")
        page = ServiceToken.page(principal, **{**query.model_dump(), "tenant_id": tenant_id})
        return schemas.ServiceAccountTokenListResponse(
            items=[show_token(token) for token in page.items], total=page.total, limit=query.limit, offset=query.offset
        )

    @endpoint("Revoke Service Account Token", "auth", action=SERVICE_TOKEN_REVOKE, tenant=True)
    def on_post_revoke(
        self, req: Request, resp: falcon.Response, jti: str, body: schemas.ServiceAccountTokenRevokeRequest
    ) -> SuccessResponse:
        principal = req.context.principal
        override = (principal.override or "")[:REASON_LENGTH]
        reason = (body.reason or "").strip() or override or "tenant_admin_manual_revoke"
        ServiceToken.revoke(principal, parse_uuid(jti), reason, client=req.context.client)
        return SuccessResponse(message="Service account token revoked.", data={"jti": jti})


def _own_tenant(principal: Principal, tenant_id: str | None, refusal: str) -> str:
    """The id of an admin's own tenant. Raises TenantNotYours if the request names another one."""
    if tenant_id and parse_uuid(tenant_id) != principal.tenant_id:
        raise TenantNotYours(refusal)
    return str(principal.tenant_id)


def issue(
    req: Request, body: schemas.ServiceAccountIssueRequest, *, by: Caller, reason: str | None = None
) -> schemas.ServiceAccountTokenResponse:
    account = body.account if body.account in catalogue() else "unknown"  # callers must not create labels
    began = time.perf_counter()
    try:
        request = ServiceTokenRequest(**body.model_dump(exclude={"reason"}))
        stored, token = service_token_issuing.issue(request, by=by, reason=reason, client=req.context.client)
    except DomainError as error:
        metrics.service_token_issued(account, error.code, time.perf_counter() - began)
        raise
    metrics.service_token_issued(account, "success", time.perf_counter() - began)
    return schemas.ServiceAccountTokenResponse(
        refresh_token=token,
        issued_at=stored.created_at.isoformat(),
        expires_at=stored.expires_at.isoformat(),
        scopes=stored.scopes,
        tenant_id=str(stored.tenant_id) if stored.tenant_id else None,
        kid=stored.signing_kid,
        account=stored.account,
        token_use="refresh",
        session_id=str(stored.id),
    )


def show_token(token: ServiceToken) -> schemas.ServiceAccountTokenItem:
    return schemas.ServiceAccountTokenItem(
        jti=str(token.id),
        account=token.account,
        tenant_id=str(token.tenant_id) if token.tenant_id else None,
        scopes=token.scopes,
        issued_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        revoked_reason=token.revoked_reason,
        fingerprint=token.fingerprint,
        signing_kid=token.signing_kid,
        issued_by=token.issued_by,
    )
