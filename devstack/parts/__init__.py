"""The embedded parts, one module each. A part is started only if the environment does not name a real one."""

from devstack.parts.base import Part
from devstack.parts.mail import Mail
from devstack.parts.model import Model
from devstack.parts.postgres import Postgres
from devstack.parts.resend import Resend
from devstack.parts.storage import Storage
from devstack.parts.stripe import Stripe
from devstack.parts.valkey import Valkey

ALL: tuple[type[Part], ...] = (Postgres, Valkey, Storage, Mail, Resend, Model, Stripe)

__all__ = ["ALL", "Part"]
