"""`python -m devstack.seed`: create the demo tenant and its owner unless they exist; print the tenant's id."""

from devstack.stack import EMAIL, PASSWORD
from edge.resources.billing.provisioning import provision
from models.auth import passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Plan, Tenant
from models.auth.users import Membership, User
from models.billing import stripe_prices
from models.billing.changes import Start
from models.billing.subscription import Subscription
from models.platform.database import transaction
from models.platform.principal import Root
from models.platform.settings import settings


def seed() -> tuple[User, Tenant]:
    """The demo user and tenant, created if they are missing. SystemExit in production: everybody knows the password."""
    if settings.hardened:
        raise SystemExit("The demo account has a known password: it is for development only.")
    with transaction():
        plan = Plan.get_or_none(Plan.code == settings.signup_default_plan_code)
        tenant = Tenant.get_or_none(Tenant.slug == "demo") or Tenant.create(slug="demo", name="Demo", plan=plan)
        user = User.by_email(EMAIL)
        if user is None:
            user = User.add(
                EMAIL,
                passwords.choose_password(PASSWORD, EMAIL, hasher=PasswordHasher()),
                tenant=tenant,
                role="owner",
                verified=True,
                display_name="Demo",
            )
        if Membership.get_or_none(user=user.id, tenant=tenant.id) is None:
            Membership.add(user.id, tenant.id, "owner", by=Root("operator:seed"))
        is_sold = plan is not None and stripe_prices.current(plan.code)  # not before the first `plans sync`
        if plan and is_sold and Subscription.of_tenant(tenant.id) is None:
            provision(tenant, Start(plan_code=plan.code, billing_email=EMAIL), Root("operator:seed"))
    return user, tenant


if __name__ == "__main__":
    print(seed()[1].id)
