"""The tenant in the path of a billing route."""

from uuid import UUID

from edge.auth import TenantMismatch
from edge.request import Request

MISMATCH = "Tenant mismatch between request and credentials."


def tenant_of(req: Request, tenant_id: str) -> UUID:
    """The tenant where the request acts, which its path has to name exactly as the token does.

    To be called before anything is looked up, so that another tenant's rows never make a difference. Raises
    TenantMismatch (403), also for what is no id at all.
    """
    acting = req.context.principal.tenant_id
    if acting is None or str(acting) != tenant_id:
        raise TenantMismatch(MISMATCH)
    return acting
