"""The settings of a tenant."""

from dataclasses import asdict
from typing import cast
from uuid import UUID

import falcon
from pydantic import AnyUrl

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.tenants import (
    BillingContactModel,
    TenantFlagResponse,
    TenantFlagsResponse,
    TenantSettingsResponse,
    TenantSettingsUpdateRequest,
)
from edge.versions import versions
from models.platform.authorization import TENANT_SETTINGS_CHANGE, TENANT_SETTINGS_READ
from models.platform.database import transaction
from models.tenants import flags
from models.tenants.settings import Contact, TenantSettings


class Settings:
    @endpoint("Get Tenant Settings", "tenants", action=TENANT_SETTINGS_READ, tenant=True, answer_headers=("ETag",))
    def on_get(self, req: Request, resp: falcon.Response) -> TenantSettingsResponse:
        """Who is told about billing, the billing webhook, and values that the tenant keeps. `ETag` names their version."""
        return _answer(resp, TenantSettings.of_tenant(_tenant(req)))

    @endpoint("List Tenant Flags", "tenants", action=TENANT_SETTINGS_READ, tenant=True)
    def on_get_flags(self, req: Request, resp: falcon.Response) -> TenantFlagsResponse:
        """All flags that there are, what they are about, and what they say for this tenant. Beyond the contract."""
        stored, values = TenantSettings.of_tenant(_tenant(req)).flags, flags.of_tenant(_tenant(req))
        return TenantFlagsResponse(
            items=[
                TenantFlagResponse(**asdict(flag), value=values[name], is_default=name not in stored)
                for name, flag in flags.FLAGS.items()
            ]
        )

    @endpoint(
        "Update Tenant Settings",
        "tenants",
        action=TENANT_SETTINGS_CHANGE,
        tenant=True,
        headers=("If-Match",),
        answer_headers=("ETag",),
    )
    def on_put(self, req: Request, resp: falcon.Response, body: TenantSettingsUpdateRequest) -> TenantSettingsResponse:
        """Replace all settings. With `If-Match`, the ETag of an answer, only if nobody has changed them since: otherwise 412.

        `flags`: those of the list of flags; an unknown one is a 400, unless it was saved before.
        """
        with transaction():
            row = TenantSettings.save_all(
                req.context.principal,
                _tenant(req),
                contacts=[Contact(**contact.model_dump()) for contact in body.billing_contacts],
                webhook_url=None if body.billing_webhook_url is None else str(body.billing_webhook_url),
                plan_metadata=body.plan_metadata,
                flags=body.flags,
                versions=versions(req),
                client=req.context.client,
            )
        return _answer(resp, row)


def _tenant(req: Request) -> UUID:
    return cast(UUID, req.context.principal.tenant_id)  # the action needs one


def _answer(resp: falcon.Response, row: TenantSettings) -> TenantSettingsResponse:
    resp.set_header("ETag", f'"{row.version}"')
    return TenantSettingsResponse(
        tenant_id=str(row.tenant_id),
        billing_contacts=[BillingContactModel(**contact) for contact in row.billing_contacts],
        billing_webhook_url=None if row.billing_webhook_url is None else AnyUrl(row.billing_webhook_url),
        plan_metadata=row.plan_metadata,
        flags=row.flags,
        updated_at=row.updated_at,
    )
