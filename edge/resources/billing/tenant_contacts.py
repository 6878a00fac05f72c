"""The billing contacts of a tenant: a test of whether mails reach them. Beyond the contract."""

from typing import cast
from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.schemas.tenants import ContactsTestResponse
from models.billing.notices import recipients
from models.platform import audit, limits
from models.platform.authorization import TENANT_SETTINGS_CHANGE
from models.platform.database import transaction
from models.platform.errors import Conflict
from models.tenants.settings import TenantSettings
from workers.jobs import MAIL_BILLING_TEST, enqueue

TESTS_PER_HOUR = 5  # per tenant: strangers may be among the contacts


class NoContacts(Conflict):
    code, message = "no_billing_contacts", "Nobody would be told: save a billing contact in the settings first."


class BillingContacts:
    @endpoint("Test Billing Contacts", "tenants", action=TENANT_SETTINGS_CHANGE, status=202, tenant=True)
    def on_post(self, req: Request, resp: falcon.Response) -> ContactsTestResponse:
        """Sends a test mail to everybody who is told about billing: the contacts, or else the subscription's address, or the owners.

        Beyond the contract.
        """
        tenant_id = cast(UUID, req.context.principal.tenant_id)  # the action needs one
        limits.hit("billing_contacts_test", TESTS_PER_HOUR, limits.HOUR, tenant_id)
        with transaction():
            addresses = recipients(TenantSettings.of_tenant(tenant_id))
            if not addresses:
                raise NoContacts()
            for address in addresses:
                enqueue(MAIL_BILLING_TEST, tenant_id=tenant_id, to=address)
            audit.record(
                "tenant_settings.contacts_tested",
                req.context.principal,
                f"tenant:{tenant_id}",
                client=req.context.client,
                recipients=len(addresses),
            )
        return ContactsTestResponse(recipients=len(addresses))
