"""One turn: a question on its way through the agents. Its request, its state, and the events that it produces."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from models.billing import plans
from models.conversations.chat_context import HistoryMessage
from models.platform.database import release
from models.runs import tool_policy
from models.runs.events import event
from models.runs.steps import Step
from models.tenants import flags
from workers.agents import attachments
from workers.agents.approvals import Decisions
from workers.agents.attachments import Attachment
from workers.agents.catalog import Agent, Catalog, Tool
from workers.agents.citations import Annotation, Source, by_label, cited
from workers.agents.items import Item, without_image

if TYPE_CHECKING:
    from workers.agents.compaction import Compaction
    from workers.agents.ingestion import Kept

Event = dict[str, Any]
USAGE = ("input_tokens", "output_tokens", "total_tokens")
TOGGLES = {"web_search": "enable_web_search"}  # of a plan, by the beginning of a hosted tool's type
# Of a tenant, likewise.
FLAGS = {
    "web_search": flags.WEB_SEARCH,
    "code_interpreter": flags.CODE_INTERPRETER,
    "image_generation": flags.IMAGE_GENERATION,
}
LARGE_FIELDS = ("instructions", "tools", "input")  # of a response: prompts, and what the client sent itself


@dataclass(slots=True, kw_only=True)
class TurnRequest:
    """`history`: the conversation, oldest message first; the last one is the question. `run_options`: as in the API.
    `decisions`: what people have decided about calls of earlier attempts. `compaction`: how a long history is summarised,
    None if its oldest messages are just left out. `conversation_row`: the id of the conversation's row, to which what agents
    make belongs."""

    agent: str
    history: list[HistoryMessage]
    conversation_id: str
    tenant_id: UUID
    user_id: UUID | None = None
    user_name: str | None = None
    location: dict[str, str] | None = None
    run_options: dict[str, Any] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=dict)
    compaction: "Compaction | None" = None
    conversation_row: UUID | None = None


@dataclass(slots=True, kw_only=True)
class TurnResult:
    """`items`: columns of the run events to record. `structured_output`: the parsed answer of an agent with a schema.
    `step`: the last response, to be journaled with the answer; None if it came from the journal. `attachments`: what the agents
    have made; `failures`: what of it could not be kept. `sources`: those that the answer cites."""

    response_text: str
    structured_output: Any
    answering_agent: str
    handoff_occurred: bool
    usage: dict[str, int]
    response_id: str | None
    model: str
    items: list[dict[str, Any]]
    step: Step | None = None
    refusal: bool = False
    attachments: list[Attachment] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


class Turn:
    """The state of a turn. Events come in the wire's shape (models/runs/events.py); the caller numbers them."""

    def __init__(self, request: TurnRequest, catalog: Catalog) -> None:
        self.request = request
        self.catalog = catalog
        self.options = request.run_options
        self.config: dict[str, Any] = self.options.get("run_config") or {}
        self.agent: Agent = catalog.get(request.agent)
        self.first_agent = self.agent
        self.mcp_tools: list[Tool] = []  # of the servers that the agent uses and that we ask
        self.input: list[Item] = attachments.as_items(request.history, self.model)
        question = request.history[-1]["content"]
        self.items: list[dict[str, Any]] = [{"type": "user_message", "role": "user", "content_text": question}]
        self.usage: dict[str, int] = {**dict.fromkeys(USAGE, 0), "requests": 0}
        self.response_id: str | None = None
        self._toggles: dict[str, bool] = {}
        self.target: str | None = None  # the model that answers, as we name it
        self.sources: dict[str, Source] = {}  # by label
        self.attachments: dict[str, Attachment] = {}  # by object id
        self.failures: list[dict[str, Any]] = []

    @property
    def functions(self) -> list[Tool]:
        """What the agent may call and runs here."""
        return [*self.catalog.functions_of(self.agent), *self.mcp_tools]

    @property
    def hosted(self) -> list[Tool]:
        """What the agent has, the provider runs, and the tenant's plan and flags allow."""
        return [tool for tool in self._hosted_tools if self._is_allowed(tool)]

    @property
    def withheld(self) -> list[Tool]:
        """What the tenant's plan or flags do not allow the agent."""
        return [tool for tool in self._hosted_tools if not self._is_allowed(tool)]

    @property
    def _hosted_tools(self) -> list[Tool]:
        return [tool for tool in self.catalog.tools_of(self.agent) if tool.hosted is not None]

    def _is_allowed(self, tool: Tool) -> bool:
        kind = (tool.hosted or {}).get("type", "")
        return all(self._flags[flag.name] for prefix, flag in FLAGS.items() if kind.startswith(prefix)) and all(
            self._toggle(toggle) for prefix, toggle in TOGGLES.items() if kind.startswith(prefix)
        )

    @cached_property
    def _flags(self) -> dict[str, bool]:
        """Those of the tenant. They are looked up once for a turn, if one of its agents has such a tool at all."""
        try:
            return flags.of_tenant(self.request.tenant_id)
        finally:
            release()

    def _toggle(self, name: str) -> bool:
        """What the plan says is looked up once for a turn, if one of its agents has such a tool at all."""
        if name not in self._toggles:
            try:
                self._toggles[name] = plans.toggle(self.request.tenant_id, name)
            finally:
                release()
        return self._toggles[name]

    @property
    def model(self) -> str:
        return self.config.get("model") or self.agent.model_name

    @cached_property
    def ruled_tools(self) -> frozenset[str]:
        """The tools whose calls the tenant wants approved. They are looked up when the first call comes."""
        try:
            return frozenset(tool_policy.of_tenant(self.request.tenant_id))
        finally:
            release()

    def add_response(self, response: dict[str, Any]) -> None:
        """Count a response that has ended, however it ended."""
        self.response_id = response["id"]
        self.add_usage(response.get("usage") or {})

    def add_usage(self, usage: dict[str, Any]) -> None:
        """Count the tokens of one response."""
        self.usage["requests"] += 1
        for name in USAGE:
            self.usage[name] += usage.get(name) or 0

    @property
    def unread(self) -> list[dict[str, Any]]:
        """The attachments of the question that the model is not given."""
        attached = self.request.history[-1].get("attachments") or ()
        names = ("object_id", "filename", "reason")
        return [{name: one[name] for name in names} for one in attached if one.get("reason")]

    def keep(
        self, sources: Iterable[Source], made: Iterable[Attachment], failures: Iterable[dict[str, Any]] = ()
    ) -> None:
        """What a call has found, what was made, and what of that could not be kept."""
        self.sources |= by_label(sources)
        self.attachments |= {attachment["object_id"]: attachment for attachment in made}
        self.failures += failures

    def record(self, kind: str, **fields: Any) -> None:
        """Keep an item for the conversation's run events."""
        self.items.append(
            {
                "type": kind,
                "agent": self.agent.key,
                "model": self.target or self.model,
                "response_id": self.response_id,
                **fields,
            }
        )

    def result(self, text: str, structured: Any, model: str, annotations: list[Annotation], **more: Any) -> TurnResult:
        """The end of the turn. `more`: the step and whether it is a refusal."""
        return TurnResult(
            response_text=text,
            structured_output=structured,
            answering_agent=self.agent.key,
            handoff_occurred=self.agent is not self.first_agent,
            usage=dict(self.usage),
            response_id=self.response_id,
            model=model,
            items=self.items,
            attachments=list(self.attachments.values()),
            failures=self.failures,
            annotations=annotations,
            sources=cited(text, self.sources),
            **more,
        )

    # ------------------------------------------------------------- events

    def event(self, kind: str, **fields: Any) -> Event:
        key = self.agent.key
        fields.setdefault("agent", key)
        return event(kind, self.request.conversation_id, agent_used=key, response_id=self.response_id, **fields)

    def lifecycle(self, label: str, **fields: Any) -> Event:
        return self.event("lifecycle", event=label, **fields)

    def run_item(self, name: str, kind: str, **fields: Any) -> Event:
        return self.event("run_item", run_item_name=name, run_item_type=kind, **fields)

    def agent_update(self) -> Event:
        agent = self.agent
        return self.event("agent_update", new_agent=agent.key, payload={"key": agent.key, "name": agent.display_name})

    def fallback(self, raw: Event) -> Event:
        names = {name: raw[name] for name in ("from", "to", "code")}
        return self.lifecycle(raw["type"], payload=names)

    def raw_response(self, raw: Event, kept: "Kept | None" = None) -> Event:
        """A provider's event. What is too large, or not for clients to see, is left out. `kept`: what its item has made."""
        kind, payload, text, reasoning = raw["type"], raw, None, None
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            text = raw["delta"]
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            reasoning = raw["delta"]
        elif "response" in raw:
            response = {key: value for key, value in raw["response"].items() if key not in LARGE_FIELDS}
            output = [without_image(item) for item in response.get("output") or ()]
            payload = {**raw, "response": {**response, "output": output}}
        elif "partial_image_b64" in raw:
            payload = {**raw, "partial_image_b64": None}
        elif "item" in raw:
            payload = {**raw, "item": without_image(raw["item"])}
        made = kept.attachments if kept else None
        if kept and (made or kept.failures):
            payload = {**payload, "_attachment_note": "stored" if made else "failed"}
        texts = {"text_delta": text, "reasoning_delta": reasoning}
        return self.event("raw_response", raw_type=kind, payload=payload, attachments=made or None, **texts)
