"""The passwords that an account had before."""

from uuid import UUID

from peewee import ForeignKeyField, TextField

from models.auth.users import User
from models.platform.model import Model


class PasswordHistory(Model):
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    password_hash = TextField()

    @classmethod
    def newest(cls, user_id: UUID, count: int) -> list[str]:
        query = cls.select(cls.password_hash).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        return [row.password_hash for row in query]

    @classmethod
    def keep(cls, user_id: UUID, password_hash: str, count: int) -> None:
        """Remember a password that is given up, and forget all but the newest `count`."""
        cls.create(user=user_id, password_hash=password_hash)
        kept = cls.select(cls.id).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        cls.delete().where((cls.user == user_id) & cls.id.not_in(kept)).execute()
