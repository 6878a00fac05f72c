"""The hashes of the passwords that a user had before."""

from uuid import UUID

from peewee import ForeignKeyField, TextField

from models.auth.users import User
from models.platform.model import Model


class PasswordHistory(Model):
    user_id: UUID
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    password_hash = TextField()

    @classmethod
    def newest(cls, user_id: UUID, count: int) -> list[str]:
        """The hashes of the last `count` passwords, newest first; none if `count` is negative."""
        query = cls.select(cls.password_hash).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        return [entry.password_hash for entry in query]

    @classmethod
    def remember(cls, user_id: UUID, password_hash: str, count: int) -> None:
        """Add a password that was replaced, and forget all but the newest `count`."""
        cls.create(user=user_id, password_hash=password_hash)
        newest = cls.select(cls.id).where(cls.user == user_id).order_by(cls.id.desc()).limit(max(0, count))
        cls.delete().where((cls.user == user_id) & cls.id.not_in(newest)).execute()
