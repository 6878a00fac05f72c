"""What tenants use: a row per feature for each chat, and for each step of a workflow, written as it ends.

The rows outlive their run: deleting a conversation does not give back what its answers have cost.
"""

from typing import Any
from uuid import UUID, uuid5

from models.platform.database import Json, database, in_transaction
from models.platform.ids import uuid7

MESSAGES, INPUT_TOKENS, OUTPUT_TOKENS = "messages", "input_tokens", "output_tokens"
# For a larger statement too. A run that ends again, after an operator's retry, has used what it had used then, and more.
INSERT = """
    insert into usage_record (id, tenant_id, run_id, feature, quantity)
    select used.id, %(tenant_id)s, %(run_id)s, used.feature, used.quantity
    from jsonb_to_recordset(%(used)s) as used(id uuid, feature text, quantity bigint)
    {only_if}on conflict (run_id, feature) do update set quantity = greatest(usage_record.quantity, excluded.quantity)"""
RECORD = INSERT.format(only_if="")
JOURNALED = """
select split_part(scope, '/', 1), token, sum((usage->>token)::bigint)
from run_step, unnest(%(names)s::text[]) as token
where run_id = %(run_id)s and kind = 'response' and usage->token is not null group by 1, 2"""
TOKENS = (INPUT_TOKENS, OUTPUT_TOKENS, "total_tokens")


def rows(usage: dict[str, int], *, messages: int = 0) -> Json:
    """The value of %(used)s: the tokens of `usage`, and `messages` answered messages."""
    used = {MESSAGES: messages, **{name: usage.get(name) or 0 for name in (INPUT_TOKENS, OUTPUT_TOKENS)}}
    listed = [{"id": str(uuid7()), "feature": name, "quantity": number} for name, number in used.items() if number > 0]
    return Json(listed)


@in_transaction
def record(tenant_id: UUID, run_id: UUID, usage: dict[str, int] | None, *, messages: int = 0) -> None:
    """Count what a run has used in all. Repeatable."""
    values: dict[str, Any] = {"tenant_id": tenant_id, "run_id": run_id, "used": rows(usage or {}, messages=messages)}
    database.execute_prepared(RECORD, values)


def key_of_step(run_id: UUID, scope: str) -> UUID:
    """Under which the tokens of a workflow's step are counted. `scope`: of its journal."""
    return uuid5(run_id, f"step {scope}")


@in_transaction
def record_steps(tenant_id: UUID, run_id: UUID) -> None:
    """Count what the finished responses of a workflow's steps have used, of those too that were stopped. Repeatable."""
    for scope, tokens in journaled(run_id).items():
        record(tenant_id, key_of_step(run_id, scope), tokens)


def journaled(run_id: UUID) -> dict[str, dict[str, int]]:
    """The tokens that the finished responses of a run have used, by the scope of its steps; "" is that of a chat."""
    found = database.execute_prepared(JOURNALED, {"run_id": run_id, "names": list(TOKENS)}).fetchall()
    tokens: dict[str, dict[str, int]] = {}
    for scope, name, number in found:
        tokens.setdefault(scope, {})[name] = int(number)
    return tokens
