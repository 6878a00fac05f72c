"""What tenants use: a ledger that is only added to. An entry per source and feature; a correction is a further entry.

An entry is written in the transaction that finishes the work. Entries outlive their run: deleting a conversation does not
give back what its answers have cost. Who sums them up: models/billing/counters.py.
"""

from typing import Any
from uuid import UUID

from models.platform.database import Json, database, in_transaction
from models.runs import holds

MESSAGES, INPUT_TOKENS, OUTPUT_TOKENS = "messages", "input_tokens", "output_tokens"
EMBEDDING_TOKENS, SEARCHES = "embedding_tokens", "searches"
# For a larger statement too. `used` is what the source has used in all: what was counted of it before is not counted again.
INSERT = """
    insert into usage_entry (tenant_id, source, feature, number, quantity)
    select %(tenant_id)s::uuid, %(source)s::text, used.feature, coalesce(counted.number + 1, 0),
        used.quantity - coalesce(counted.quantity, 0)
    from jsonb_to_recordset(%(used)s) as used(feature text, quantity bigint) left join lateral (
        select max(number) as number, sum(quantity) as quantity from usage_entry
        where tenant_id = %(tenant_id)s and source = %(source)s and feature = used.feature
    ) counted on true
    where used.quantity > coalesce(counted.quantity, 0){only_if}
    on conflict do nothing returning tenant_id, feature, used_at, quantity"""
TAIL = """
    insert into usage_tail (tenant_id, feature, used_at, quantity)
    select tenant_id, feature, used_at, quantity from metered"""
RECORD = f"with metered as ({INSERT.format(only_if='')}) {TAIL}"
JOURNALED = """
select split_part(scope, '/', 1), token, sum((usage->>token)::bigint)
from run_step, unnest(%(names)s::text[]) as token
where run_id = %(run_id)s and kind = 'response' and usage->token is not null group by 1, 2"""
TOKENS = (INPUT_TOKENS, OUTPUT_TOKENS, "total_tokens")


def of_chat(usage: dict[str, int], *, messages: int = 0) -> dict[str, int]:
    """Quantities by feature: the tokens of `usage`, and `messages` answered messages."""
    used = {MESSAGES: messages, **{name: usage.get(name) or 0 for name in (INPUT_TOKENS, OUTPUT_TOKENS)}}
    return {feature: number for feature, number in used.items() if number > 0}


def of_indexing(usage: dict[str, int]) -> dict[str, int]:
    """Quantities by feature: the tokens that became vectors."""
    tokens = usage.get(EMBEDDING_TOKENS) or 0
    return {EMBEDDING_TOKENS: tokens} if tokens > 0 else {}


def values(source: str, used: dict[str, int]) -> dict[str, Any]:
    """The values %(source)s and %(used)s of INSERT."""
    listed = [{"feature": feature, "quantity": quantity} for feature, quantity in sorted(used.items())]
    return {"source": source, "used": Json(listed)}


def source_of(run_id: UUID, scope: str = "") -> str:
    """What entries name as their source. `scope`: that of a workflow's step in the journal."""
    return f"run:{run_id}/{scope}" if scope else f"run:{run_id}"


@in_transaction
def record(tenant_id: UUID, run_id: UUID, used: dict[str, int], scope: str = "") -> None:
    """Count what a run, or a step of it, has used in all, by feature. Repeatable."""
    record_source(tenant_id, source_of(run_id, scope), used)


@in_transaction
def record_source(tenant_id: UUID, source: str, used: dict[str, int]) -> None:
    """Count what a source has used in all, by feature. Repeatable."""
    if used:
        database.execute_prepared(RECORD, {"tenant_id": tenant_id, **values(source, used)})


@in_transaction
def record_steps(tenant_id: UUID, run_id: UUID) -> None:
    """Count what the finished responses of a workflow's steps have used, of those too that were stopped. Repeatable."""
    for scope, tokens in journaled(run_id).items():
        record_step(tenant_id, run_id, scope, tokens)


@in_transaction
def record_step(tenant_id: UUID, run_id: UUID, scope: str, tokens: dict[str, int]) -> None:
    """Count the tokens of a workflow's step. Repeatable."""
    record(tenant_id, run_id, of_chat(tokens), scope)
    database.after_commit(lambda: holds.forget(tenant_id))


def journaled(run_id: UUID) -> dict[str, dict[str, int]]:
    """The tokens that the finished responses of a run have used, by the scope of its steps; "" is that of a chat."""
    found = database.execute_prepared(JOURNALED, {"run_id": run_id, "names": list(TOKENS)}).fetchall()
    tokens: dict[str, dict[str, int]] = {}
    for scope, name, number in found:
        tokens.setdefault(scope, {})[name] = int(number)
    return tokens
