"""A tenant's invoices."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import falcon

from edge.endpoint import endpoint
from edge.request import Request
from edge.resources.billing.tenant import tenant_of
from edge.schemas.billing.subscriptions import InvoiceListResponse, InvoiceQuery, InvoiceResponse
from models.billing.invoices import Invoice
from models.platform.authorization import BILLING_READ
from models.platform.keyset import KeysetPage


class Listed(NamedTuple):
    """What a list shows of an invoice."""

    id: UUID
    stripe_invoice_id: str
    number: str | None
    status: str
    currency: str
    total_cents: int
    amount_due_cents: int
    amount_paid_cents: int
    billing_reason: str | None
    period_start: datetime | None
    period_end: datetime | None
    issued_at: datetime
    hosted_invoice_url: str | None
    pdf_url: str | None


class Invoices:
    @endpoint("List Invoices", "billing", action=BILLING_READ, tenant=True)
    def on_get(self, req: Request, resp: falcon.Response, tenant_id: str, query: InvoiceQuery) -> InvoiceListResponse:
        """The invoices that have been issued, the newest first. Beyond the contract."""
        tenant = tenant_of(req, tenant_id)
        columns = [getattr(Invoice, name) for name in Listed._fields]
        rows = Invoice.visible_to(req.context.principal).where(Invoice.tenant_id == tenant).select(*columns)
        page = KeysetPage.of(rows, Listed, (Invoice.issued_at, Invoice.id), query.limit, query.cursor)
        return InvoiceListResponse(items=[show(row) for row in page.items], next_cursor=page.next_cursor)


def show(row: Listed) -> InvoiceResponse:
    values = row._asdict()
    del values["id"]
    return InvoiceResponse(invoice_id=values.pop("stripe_invoice_id"), **values)
