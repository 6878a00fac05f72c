"""How many wrong passwords get as far as a hash.

Strangers share five an hour for each address, whether it has an account or not, and fifty in ten minutes for each
network. A known device and an open session have five an hour of their own, so nobody can use these limits to keep the
owner of an account out.
"""

import contextlib
from collections.abc import Iterator
from uuid import UUID

from models.auth.email_addresses import normalize_email
from models.platform import attempts
from models.platform.attempts import Attempt, Budget, BudgetFull
from models.platform.client_info import ClientInfo
from models.platform.digests import lasting_hex_digest
from models.platform.errors import Locked
from models.platform.limits import QuotaExceeded
from models.platform.settings import settings

ADDRESS, DEVICE, SESSION, NETWORK = "login_address", "login_device", "login_session", "login_network"


def of_stranger(email: str, client: ClientInfo) -> list[Budget]:
    """The budgets of a login from a device that is not known."""
    return [*map(_network, client.networks), address_budget(email)]


def of_device(device_id: UUID) -> list[Budget]:
    return [_lock(DEVICE, str(device_id))]


def of_session(session_id: UUID) -> list[Budget]:
    """The budget of a user who is logged in and has to prove who they are again."""
    return [_lock(SESSION, str(session_id))]


def unlock(email: str) -> None:
    """Forget what strangers got wrong, after the owner has set a new password."""
    attempts.reopen(address_budget(email))


@contextlib.contextmanager
def guess(budgets: list[Budget]) -> Iterator[Attempt]:
    """Count a guess for the block, which spends it if the password is wrong.

    Raises Locked or QuotaExceeded, whether the password is right or not, or CountersAway.
    """
    try:
        with attempts.attempt(budgets) as attempt:
            yield attempt
    except BudgetFull as full:
        raise _refusal(full) from None


def locks(closed: list[Budget]) -> bool:
    """Whether one of these is more than a network: then the owner has to know."""
    return any(budget.quota != NETWORK for budget in closed)


def _refusal(full: BudgetFull) -> Locked | QuotaExceeded:
    if full.budget.quota == NETWORK:
        text = "Too many login attempts from this network segment."
        return QuotaExceeded(NETWORK, full.retry_after, text)
    if full.closed:
        return Locked(headers={"Retry-After": str(full.retry_after)})
    return QuotaExceeded(full.budget.quota, full.retry_after, "Too many login attempts at the same time.")


def address_budget(email: str) -> Budget:
    """What strangers have for this address."""
    return _lock(ADDRESS, lasting_hex_digest("login-address", normalize_email(email)))


def _lock(quota: str, key: str) -> Budget:
    window, block = settings.auth_lockout_window_minutes, settings.auth_lockout_duration_minutes
    return Budget(quota, key, settings.auth_lockout_threshold, 60 * window, 60 * block, forgiving=True)


def _network(network: str) -> Budget:
    seconds = 60 * settings.auth_ip_lockout_window_minutes
    return Budget(NETWORK, network, settings.auth_ip_lockout_threshold, seconds)
