"""What becomes of a call: its output for the model, and, if it failed, the reason. A failed call fails no run."""

import json
import logging
from dataclasses import dataclass, field, replace
from typing import Any

from models.platform.json import storable_json, storable_text
from workers.agents.approvals import Decision
from workers.agents.citations import Source
from workers.agents.declarations import Tool
from workers.agents.functions import ToolFailed, ToolsContext, check_arguments
from workers.agents.items import is_too_deep
from workers.agents.providers.errors import ProviderError

log = logging.getLogger(__name__)
MAX_CHARACTERS = 100_000  # of an output


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed`: None, or unknown, arguments, failed, timeout, too_long, cut, denied or expired. `sources`: of what it found.
    `attachments`: what an agent that was asked has made."""

    output: str
    failed: str | None = None
    sources: list[Source] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        more = {"sources": self.sources, "attachments": self.attachments}
        return {"output": self.output, "failed": self.failed, **{name: value for name, value in more.items() if value}}

    @property
    def payload(self) -> dict[str, Any] | None:
        """Of the event that says that the call has ended."""
        return {"failed": True, "reason": self.failed} if self.failed else None


def call_function(tool: Tool, arguments: dict[str, Any], context: ToolsContext) -> Outcome:
    """Call one of our functions. Raises nothing but what interrupts it."""
    if tool.function is None:
        return unknown(tool.name)
    try:
        outcome = bounded(tool.function(context, **check_arguments(tool, arguments)))
        return replace(outcome, sources=list(context.sources))
    except ToolFailed as error:
        return Outcome(bounded(f"Error: {error}").output, "failed")
    except (Exception, SystemExit):  # a bug in the tool: the log has the details, the model gets none
        log.exception("tool.failed", extra={"tool": tool.name})
        return Outcome(f"Error: {tool.name} failed.", "failed")


def bounded(output: str) -> Outcome:
    """An output as it is stored and sent, which is not longer than MAX_CHARACTERS and a note."""
    text = storable_text(output[:MAX_CHARACTERS])
    if len(output) <= MAX_CHARACTERS:
        return Outcome(text)
    note = f"\n[cut: these are the first {MAX_CHARACTERS} of {len(output)} characters]"
    return Outcome(text + note, "too_long")


def read_arguments(tool: Tool, text: str) -> dict[str, Any] | Outcome:
    """The arguments of a call, or what becomes of it because they do not fit."""
    try:
        values: Any = json.loads(storable_json(text or "{}"))
    except (ValueError, RecursionError):
        return Outcome("Error: the arguments are not valid JSON.", "arguments")
    if is_too_deep(text, values):
        return Outcome("Error: the arguments are nested too deeply.", "arguments")
    return misfit(tool, values) or values


def misfit(tool: Tool, values: object) -> Outcome | None:
    """What becomes of a call with these arguments if they do not fit the tool."""
    try:
        check_arguments(tool, values)
    except ToolFailed as error:
        return Outcome(f"Error: {error}", "arguments")
    return None


def unknown(name: str) -> Outcome:
    return Outcome(f"Error: there is no tool named {name}.", "unknown")


def timeout(tool: Tool) -> Outcome:
    unsure = "" if tool.repeatable else " It is not known whether it took effect."
    return Outcome(f"Error: {tool.name} was stopped after {tool.seconds:g} s.{unsure}", "timeout")


def cut(tool: Tool) -> Outcome:
    text = f"Error: {tool.name} was interrupted, and it is not known whether it took effect. It was not called again."
    return Outcome(text, "cut")


def refused(name: str, decision: Decision) -> Outcome:
    if decision.verdict == "expired":
        return Outcome(f"Error: nobody decided in time whether {name} may be called. It was not called.", "expired")
    reason = f" The reason: {decision.reason}" if decision.reason else ""
    return Outcome(f"Error: a person did not allow this call of {name}.{reason}", "denied")


def no_answer(name: str, error: ProviderError) -> Outcome:
    return Outcome(f"Error: {name} gave no answer. {error}", "failed")
