"""What tenants use: a row per run and feature, written in the transaction that ends the run.

The rows outlive their run: deleting a conversation does not give back what its answers have cost.
"""

from typing import Any
from uuid import UUID

from models.platform.database import Json, database, in_transaction
from models.platform.ids import uuid7

MESSAGES, INPUT_TOKENS, OUTPUT_TOKENS = "messages", "input_tokens", "output_tokens"
# For a larger statement that names the run %(run_id)s and its tenant %(tenant_id)s. A run is counted once.
INSERT = """
    insert into usage_record (id, tenant_id, run_id, feature, quantity)
    select used.id, %(tenant_id)s, %(run_id)s, used.feature, used.quantity
    from jsonb_to_recordset(%(used)s) as used(id uuid, feature text, quantity bigint)
    on conflict (run_id, feature) do nothing"""


def rows(usage: dict[str, int], *, messages: int = 0) -> Json:
    """The value of %(used)s: the tokens of `usage`, and `messages` answered messages."""
    used = {MESSAGES: messages, **{name: usage.get(name) or 0 for name in (INPUT_TOKENS, OUTPUT_TOKENS)}}
    listed = [{"id": str(uuid7()), "feature": name, "quantity": number} for name, number in used.items() if number > 0]
    return Json(listed)


@in_transaction
def record(tenant_id: UUID, run_id: UUID, usage: dict[str, int] | None, *, messages: int = 0) -> None:
    """Count what a run has used. A second call for the same run counts nothing."""
    values: dict[str, Any] = {"tenant_id": tenant_id, "run_id": run_id, "used": rows(usage or {}, messages=messages)}
    database.execute_prepared(INSERT, values)
