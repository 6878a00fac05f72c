"""What an agent and a tool are."""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from string import Template
from typing import Any, Literal, get_args

from pydantic import BaseModel

from models.platform.settings import settings
from workers.agents.mcp_servers import McpServer

History = Literal["full", "fresh", "last_turn", "remove_all_tools"]
HISTORIES = get_args(History)
# What a prompt may use, besides the agent's own variables and `time`.
VARIABLES = ("user_name", "user_id", "tenant_id", "conversation_id", "request_message")
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that runs here has `parameters`, a JSON schema, and `function(context, **arguments)`: see `@tool`. One that
    the provider runs has `hosted`, its declaration. One with a `server` stands for all tools of that MCP server, which is
    the provider's to ask if it has `hosted` too, and ours otherwise.

    arguments   checks the arguments of a call; None: the function does
    seconds     that one call may take
    repeatable  whether a call that was cut in the middle, by a crash or a deploy, may simply be made again
    when_cut    who is asked about such a call if it is not repeatable: the model, or a person by an approval
    approval    whether a person has to approve a call: always, or as a function of its arguments says
    optional    whether agents can do without it where no provider has it
    """

    name: str
    category: str
    description: str
    parameters: dict[str, Any] | None = None
    hosted: dict[str, Any] | None = None
    _: KW_ONLY
    function: Callable[..., str] | None = None
    server: McpServer | None = None
    arguments: type[BaseModel] | None = None
    seconds: float = 30.0
    repeatable: bool = True
    when_cut: Literal["model", "person"] = "model"
    approval: bool | Callable[[dict[str, Any]], bool] = False
    optional: bool = False

    @property
    def kind(self) -> Literal["function", "hosted", "mcp"]:
        """Who runs it: we, the provider, or an MCP server."""
        if self.server:
            return "mcp"
        return "function" if self.hosted is None else "hosted"

    @property
    def asks(self) -> Literal["never", "always", "by_arguments"]:
        """Whether it asks for a person's approval."""
        if callable(self.approval) or (self.server and self.server.require_approval != "never"):
            return "by_arguments"
        return "always" if self.approval else "never"

    @property
    def strict(self) -> bool:
        """Whether a provider can hold the model to the parameters: it must give all of them, and no others."""
        return is_strict(self.parameters or NO_PARAMETERS)


@dataclass(frozen=True, slots=True)
class Handoff:
    """How an agent passes the conversation to `agent`.

    tool_name    of the function by which the model does so; transfer_to_<agent> if None
    description  of that function; from the agent's description if None
    history      what the other agent sees; as that agent says if None
    """

    agent: str
    _: KW_ONLY
    tool_name: str | None = None
    description: str | None = None
    history: History | None = None

    @property
    def tool(self) -> str:
        return self.tool_name or handoff_tool(self.agent)


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Where an agent's tool `file_search` looks.

    stores           names or ids of vector stores; those that a tenant does not have are passed over
    results          passages that a search finds, at most
    filters          on the attributes of files, as in the API; None: all files
    score_threshold  what is less like the query than this, from 0 to 1, is not found
    """

    stores: tuple[str, ...] = ("primary",)
    _: KW_ONLY
    results: int = 8
    filters: dict[str, Any] | None = None
    score_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """`tools` and `handoffs` name tools and other agents. `agent_tools` names agents that this one may ask like a tool, and
    goes on itself. `model`: any name of the
    models file; AGENT_MODEL_DEFAULT if None. `history` is what the agent sees after a handoff to it: full, fresh (the
    question), last_turn (two messages) or remove_all_tools. `variables`: what its prompt uses besides VARIABLES, or
    instead of one that has no value. `file_search`: where its tool of this name looks."""

    key: str
    display_name: str
    description: str
    prompt: str
    tools: tuple[str, ...] = ()
    handoffs: tuple[str | Handoff, ...] = ()
    capabilities: tuple[str, ...] = ()
    model: str | None = None
    history: History = "full"
    output_schema: dict[str, Any] | None = None
    default: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    agent_tools: tuple[str, ...] = ()
    file_search: FileSearch = FileSearch()

    @property
    def model_name(self) -> str:
        return self.model or settings.agent_model_default

    @property
    def targets(self) -> tuple[Handoff, ...]:
        """Its handoffs, each with its options."""
        return tuple(Handoff(item) if isinstance(item, str) else item for item in self.handoffs)

    def instructions(self, **values: str | None) -> str:
        """The prompt with its variables filled in. KeyError for an unknown one, ValueError for a $ that is none."""
        defaults = {
            "user_name": "there",
            "user_id": "unknown",
            "agent_key": self.key,
            "agent_name": self.display_name,
            "environment": settings.environment,
            "time": datetime.now(UTC).isoformat(timespec="minutes"),
            **self.variables,
        }
        return Template(self.prompt).substitute(
            {**defaults, **{name: value for name, value in values.items() if value}}
        )


def handoff_tool(key: str) -> str:
    """The name of the function by which a model hands the conversation to the agent `key`, if the handoff names no other."""
    return f"transfer_to_{key}"


def agent_tool(key: str) -> str:
    """The name of the function by which a model asks the agent `key`."""
    return f"ask_{key}"


def is_strict(schema: Any) -> bool:
    """Whether every object in a JSON schema has all of its properties and no others, and nothing has a default."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if "default" in schema and not isinstance(schema["default"], dict):
        return False
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False
        or set(schema.get("required", ())) != set(schema.get("properties", {}))
    ):
        return False
    return all(map(is_strict, schema.values()))


def is_function_name(text: str) -> bool:
    """Whether providers accept it as the name of a function."""
    return re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", text) is not None
