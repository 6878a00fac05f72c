"""Seats cap the members of a tenant. Whoever adds a member, or changes the number of seats, holds the tenant's row meanwhile."""

from uuid import UUID

from models.platform.database import database, in_transaction
from models.platform.errors import Conflict

# Rows that refer to the tenant may be written meanwhile.
LOCK = "select seats from tenant where id = %(tenant_id)s for no key update"
MEMBERS = """
select count(*) from membership where tenant_id = %(tenant_id)s and user_id is distinct from %(other_than)s::uuid"""


class SeatLimitReached(Conflict):
    code = "seat_limit_reached"


@in_transaction
def take_seat(tenant_id: UUID, user_id: UUID | None = None) -> None:
    """To be called before a membership is added, of `user_id` if they may be a member already.

    Of any number at once for the last seat one gets it. Raises SeatLimitReached (409).
    """
    seats = lock_seats(tenant_id)
    if seats is not None and members_of(tenant_id, other_than=user_id) >= seats:
        raise SeatLimitReached(
            f"All {seats} seats of the subscription are taken. Remove a member, or add seats.", details={"seats": seats}
        )


@in_transaction
def lock_seats(tenant_id: UUID) -> int | None:
    """The tenant's seats; until the transaction ends nobody changes them or adds a member. None: any number."""
    row = database.execute_prepared(LOCK, {"tenant_id": tenant_id}).fetchone()
    return row[0] if row else None


def members_of(tenant_id: UUID, *, other_than: UUID | None = None) -> int:
    """How many members the tenant has. Disabled ones and those who have not verified their address count too."""
    values = {"tenant_id": tenant_id, "other_than": other_than}
    return int(database.execute_prepared(MEMBERS, values).fetchone()[0])
