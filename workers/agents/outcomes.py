"""What becomes of a call: its output for the model, and, if it failed, the reason. A failed call fails no run."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from workers.agents import tools
from workers.agents.approvals import Decision
from workers.agents.declarations import NO_PARAMETERS, Tool
from workers.agents.providers.errors import ProviderError
from workers.agents.tools import ToolFailed, ToolsContext

log = logging.getLogger(__name__)
MAX_CHARACTERS = 100_000  # of an output


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed`: None, or unknown, arguments, failed, timeout, too_long, cut, denied or expired."""

    output: str
    failed: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"output": self.output, "failed": self.failed}

    @property
    def payload(self) -> dict[str, Any] | None:
        """Of the event that says that the call has ended."""
        return {"failed": True, "reason": self.failed} if self.failed else None


def call_function(tool: Tool, arguments: dict[str, Any], context: ToolsContext) -> Outcome:
    """Call one of our functions. Never raises an Exception."""
    try:
        output = tools.FUNCTIONS[tool.name](context, **arguments)
    except ToolFailed as error:
        return Outcome(f"Error: {error}", "failed")
    except Exception:  # a bug in the tool: the log has the details, the model gets none
        log.exception("tool.failed", extra={"tool": tool.name})
        return Outcome(f"Error: {tool.name} failed.", "failed")
    return bounded(output)


def bounded(output: str) -> Outcome:
    if len(output) <= MAX_CHARACTERS:
        return Outcome(output)
    note = f"\n[cut: these are the first {MAX_CHARACTERS} of {len(output)} characters]"
    return Outcome(output[:MAX_CHARACTERS] + note, "too_long")


def arguments_of(tool: Tool, text: str) -> dict[str, Any] | None:
    """The arguments, or None if they do not fit the declaration."""
    try:
        values: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return values if fit(tool, values) else None


def fit(tool: Tool, values: object) -> bool:
    """Whether these are exactly the declared parameters, and texts where texts are declared."""
    declared = (tool.parameters or NO_PARAMETERS)["properties"]
    if not isinstance(values, dict) or set(values) != set(declared):
        return False
    return all(isinstance(values[name], str) or declared[name].get("type") != "string" for name in declared)


def unknown(name: str) -> Outcome:
    return Outcome(f"Error: there is no tool named {name}.", "unknown")


def bad_arguments(name: str) -> Outcome:
    return Outcome(f"Error: these arguments are not valid JSON, or do not fit {name}.", "arguments")


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
