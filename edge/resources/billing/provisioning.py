"""The subscription that comes with a new account."""

from edge.resources.billing.asking import send
from models.auth.tenants import Tenant
from models.billing import changes
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction
from models.platform.principal import Principal
from models.platform.settings import settings


@in_transaction
def provision(tenant: Tenant, wish: changes.Start, by: Principal | str, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """Give a new tenant its subscription, if billing is on. It counts at once; Stripe is told by a job.

    A plan that has to be paid at once is left to the tenant. Raises PlanNotSold, PlanNotPriced.
    """
    if not settings.enable_billing:
        return
    operation = changes.provision(tenant.id, wish, by, client)
    if operation:
        send(operation)
