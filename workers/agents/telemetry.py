"""What models, agents and tools do: spans by OpenTelemetry's conventions for generative AI, and metrics.

No span holds what a user, a model or a tool said, unless workers/agents/captured.py is told to.
"""

import time
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from models.platform import tracing
from models.platform.tracing import Attributes, Span
from workers import metrics
from workers.agents import captured
from workers.agents.declarations import Tool
from workers.agents.providers.errors import ProviderError, from_object
from workers.agents.providers.models_file import Target, UnknownModel, models
from workers.agents.turn import Turn

Error = type[BaseException] | None


class AgentSpan:
    """The span of the agent that works, from its start to its answer or to the handoff to another one."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.span = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Error, error: BaseException | None, trace: TracebackType | None) -> None:
        self.span.__exit__(kind, error, trace)

    def hand_off(self) -> None:
        """Another agent of the turn works from now on."""
        self.span.end()
        self.span = self._start()

    def _start(self) -> Span:
        agent = self.turn.agent
        return tracing.span(f"invoke_agent {agent.display_name}", attributes=_invoked(self.turn))


def tool_span(tool: Tool, call_id: str) -> Span:
    """The span of one call of a tool that runs here, by the call's id, which the events have too."""
    attributes: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call_id,
    }
    return tracing.span(f"execute_tool {tool.name}", attributes=attributes)


class ModelCall:
    """One request to a model. Ends with the block; the caller says what came before."""

    def __init__(self, target: Target, request: dict[str, Any]) -> None:
        self.target, self.outcome, self.began = target, "interrupted", time.perf_counter()
        self.span = tracing.span(f"chat {target.model}", "client", attributes=_asked(target, request))
        self.span.set(captured.asked(request))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Error, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, ProviderError) and self.outcome == "interrupted":
            self.outcome = error.code
        metrics.model_answered(
            self.target.provider.name, self.target.name, self.outcome, time.perf_counter() - self.began
        )
        self.span.__exit__(kind, error, trace)

    def first_event(self) -> None:
        """The model has begun to answer."""
        seconds = time.perf_counter() - self.began
        metrics.MODEL_FIRST_TOKEN.labels(self.target.provider.name, self.target.name).observe(seconds)
        self.span.set({"gen_ai.response.time_to_first_chunk": seconds})

    def fail(self, code: str) -> None:
        self.outcome = code
        self.span.fail(code)

    def ended(self, kind: str, response: dict[str, Any]) -> None:
        """The last event of the response. `kind`: its type on the Responses wire."""
        usage = response.get("usage") or {}
        metrics.model_tokens(self.target.name, usage.get("input_tokens") or 0, usage.get("output_tokens") or 0)
        if failure := _failure(kind, response):
            self.fail(failure)
        else:
            self.outcome = "ok"
        self.span.set(
            {
                "gen_ai.response.id": response.get("id"),
                "gen_ai.response.model": response.get("model"),
                "gen_ai.usage.input_tokens": usage.get("input_tokens"),
                "gen_ai.usage.output_tokens": usage.get("output_tokens"),
                "gen_ai.usage.cache_read.input_tokens": _detail(usage, "input_tokens_details", "cached_tokens"),
                "gen_ai.usage.reasoning.output_tokens": _detail(usage, "output_tokens_details", "reasoning_tokens"),
                **captured.answered(response),
            }
        )


def _invoked(turn: Turn) -> Attributes:
    if not tracing.is_on():
        return {}
    try:
        provider = models().chain(turn.model)[0].provider.name
    except UnknownModel:
        provider = None
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": turn.model,
        "gen_ai.agent.id": turn.agent.key,
        "gen_ai.agent.name": turn.agent.display_name,
        "gen_ai.conversation.id": turn.request.conversation_id,
    }


def _asked(target: Target, request: dict[str, Any]) -> Attributes:
    address, port = _server_of(target.provider.base_url)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": target.provider.name,
        "gen_ai.request.model": target.model,
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "json" if "text" in request else "text",
        "server.address": address,
        "server.port": port,
    }


@lru_cache(maxsize=64)
def _server_of(base_url: str | None) -> tuple[str | None, int | None]:
    url = urlsplit(base_url or "https://api.openai.com")
    return url.hostname, url.port or (443 if url.scheme == "https" else 80)


def _failure(kind: str, response: dict[str, Any]) -> str | None:
    if kind == "response.failed":
        return from_object(response.get("error")).code
    return "provider_incomplete" if kind == "response.incomplete" else None


def _detail(usage: dict[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None
