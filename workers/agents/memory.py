"""What of a conversation a model is given: the newest of it that fits its budget of tokens. See docs/conversations.md.

Tokens are estimated, since each model counts them in its own way: four ASCII characters are one token, as is any other
character, and each item costs four more. That is about right for English and code, and too much for most other languages.
"""

from dataclasses import dataclass, replace
from typing import Any

from models.platform.settings import settings
from workers.agents.items import Item
from workers.agents.providers.models_file import UnknownModel, models

ITEM_TOKENS, IMAGE_TOKENS = 4, 1000
SUMMARY = "Summary of the earlier conversation:\n"  # how a message begins that stands for earlier ones
REMOVED = "[removed: the conversation is too long]"
CUT = "\n[cut: the conversation is too long]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """`dropped`, `kept`: messages. `outputs`: of tools, that were removed or cut. `tokens`: estimated, of what is left."""

    dropped: int
    kept: int
    outputs: int
    tokens: int
    budget: int

    @property
    def payload(self) -> dict[str, int]:
        """Of the event that says so."""
        return {
            "messages_dropped": self.dropped,
            "messages_kept": self.kept,
            "tool_outputs_cut": self.outputs,
            "estimated_tokens": self.tokens,
            "budget": self.budget,
        }


def estimate(value: Any) -> int:
    """About how many tokens a text, or an item with all its texts, has."""
    if isinstance(value, str):
        ascii_characters = len(value.encode("ascii", "ignore"))
        return ascii_characters // 4 + len(value) - ascii_characters
    if isinstance(value, dict):
        if value.get("type") == "input_image":
            return IMAGE_TOKENS
        return ITEM_TOKENS + sum(map(estimate, value.values()))
    return sum(map(estimate, value)) if isinstance(value, list) else 1


def budget_of(model: str) -> int:
    """The tokens that this model may be given, or that fit all models of its chain."""
    try:
        return models().context_tokens(model)
    except UnknownModel:  # a run that waited while the file was changed: asking will fail
        return settings.agent_context_tokens


def fit_request(request: dict[str, Any], budget: int) -> tuple[dict[str, Any], Trimmed | None]:
    """The request with as much of its input as fits, and what was left out; None if that is nothing."""
    fixed = size_of({**request, "input": []})
    items, trimmed = fit(request["input"], budget - fixed)
    if trimmed:
        trimmed = replace(trimmed, tokens=trimmed.tokens + fixed, budget=budget)
    return {**request, "input": items}, trimmed


def size_of(request: dict[str, Any]) -> int:
    """About how many tokens the model gets with a request."""
    return sum(estimate(request[name]) for name in ("instructions", "tools", "input"))


def fit(items: list[Item], budget: int) -> tuple[list[Item], Trimmed | None]:
    """The items that fit, oldest first.

    First the oldest turns are left out, whole: a question with what follows it. If the question of now and its calls are
    still too much, the outputs of its tools are removed, the oldest first, and the newest ones are cut. The question, a
    summary at the beginning, and the pairs of calls and outputs always stay.
    """
    total = sum(map(estimate, items))
    if total <= budget:
        return items, None
    first = 2 if is_summary(items) else 0
    question = max((at for at, item in enumerate(items) if item.get("role") == "user"), default=0)
    start = first
    for at in range(first + 1, question + 1):
        if total <= budget:
            break
        if items[at].get("role") == "user":
            total -= sum(map(estimate, items[start:at]))
            start = at
    left = [*items[:first], *items[start:]]
    outputs = _cut_outputs(left, total - budget) if total > budget else {}
    if not outputs and len(left) == len(items):
        return items, None
    fitted = [outputs.get(at, item) for at, item in enumerate(left)]
    trimmed = Trimmed(
        dropped=sum("role" in item for item in items[first:start]),
        kept=sum("role" in item for item in left),
        outputs=len(outputs),
        tokens=sum(map(estimate, fitted)),
        budget=budget,
    )
    return fitted, trimmed


def starts(items: list[Item], messages: int, tokens: int | None = None) -> int:
    """The index of the first of the newest turns that are so many messages and tokens at most; the last one always is."""
    first = size = 0
    for at in reversed(range(len(items))):
        size += estimate(items[at])
        if first and (len(items) - at > messages or (tokens is not None and size > tokens)):
            break
        if items[at].get("role") == "user":
            first = at
    return first


def is_summary(items: list[Item]) -> bool:
    """Whether the items begin with a summary of earlier ones and its acknowledgement."""
    return str(items[0].get("content")).startswith(SUMMARY) if items else False


def with_summary(text: str, items: list[Item]) -> list[Item]:
    """The items after a summary. Roles alternate, which some servers insist on."""
    acknowledged = {"role": "assistant", "content": "I will take it into account."}
    return [{"role": "user", "content": SUMMARY + text}, acknowledged, *items]


def _cut_outputs(items: list[Item], excess: int) -> dict[int, Item]:
    """Shorter outputs of tools by their index, so that about `excess` tokens are saved if possible."""
    at = [index for index, item in enumerate(items) if item.get("type") == "function_call_output"]
    newest = [index for index in at if all(item.get("type") == "function_call_output" for item in items[index:])]
    shorter: dict[int, Item] = {}
    for index in at[: len(at) - len(newest)]:
        if excess <= 0:
            return shorter
        excess -= _shorten(items, index, 0, shorter)
    allowed = max(0, sum(estimate(items[index]["output"]) for index in newest) - excess)
    for number, index in enumerate(sorted(newest, key=lambda index: estimate(items[index]["output"]))):
        # What small outputs leave of their share goes to the larger ones.
        share = allowed // (len(newest) - number)
        allowed -= min(share, estimate(items[index]["output"]))
        _shorten(items, index, share, shorter)
    return shorter


def _shorten(items: list[Item], index: int, tokens: int, shorter: dict[int, Item]) -> int:
    """Cut an output to about so many tokens. Returns how many that saves."""
    output = items[index]["output"]
    size, note = estimate(output), CUT if tokens else REMOVED
    if size <= max(tokens, estimate(note)) or not isinstance(output, str):
        return 0
    text = output[: len(output) * max(0, tokens - estimate(note)) // size] + note
    shorter[index] = {**items[index], "output": text}
    return size - estimate(text)
