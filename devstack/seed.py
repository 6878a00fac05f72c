"""`python -m devstack.seed`: the demo tenant and its owner. Repeatable."""

from devstack.stack import EMAIL, PASSWORD
from models.auth import passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Tenant
from models.auth.users import Membership, User
from models.platform.database import transaction


def seed() -> tuple[User, Tenant]:
    with transaction():
        tenant = Tenant.get_or_none(Tenant.slug == "demo") or Tenant.create(slug="demo", name="Demo")
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
        Membership.get_or_create(user=user.id, tenant=tenant.id, defaults={"role": "owner"})
    return user, tenant


if __name__ == "__main__":
    owner, home = seed()
    print(f"{owner.email} in tenant {home.id}")
