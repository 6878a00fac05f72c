"""What an agent and a tool are."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from string import Template
from typing import Any, Literal

from models.platform.settings import settings

VARIABLES = ("user_name", "user_id", "tenant_id", "conversation_id")  # that a prompt may use, besides the agent's own
OPTIONAL_TOOLS = {"web_search"}  # that an agent can do without: they need a provider that has them
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
QUESTION: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The question, with all that is needed to answer it."}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that runs here has `parameters`, a JSON schema. One that the provider runs has `hosted`, its declaration.

    seconds     that one call may take
    repeatable  whether a call that was cut in the middle, by a crash or a deploy, may simply be made again
    when_cut    who is asked about such a call if it is not repeatable: the model, or a person by an approval
    approval    whether a person has to approve a call: always, or as a function of its arguments says
    """

    name: str
    category: str
    description: str
    parameters: dict[str, Any] | None = None
    hosted: dict[str, Any] | None = None
    _: KW_ONLY
    seconds: float = 30.0
    repeatable: bool = True
    when_cut: Literal["model", "person"] = "model"
    approval: bool | Callable[[dict[str, Any]], bool] = False


@dataclass(frozen=True, slots=True)
class Agent:
    """`tools` and `handoffs` name tools and other agents. `agent_tools` names agents that this one may ask like a tool, and
    goes on itself. `model`: any name of the models file; AGENT_MODEL_DEFAULT if None. `history` is what the agent sees after a handoff to it: full,
    fresh (the question), last_turn (two messages) or remove_all_tools."""

    key: str
    display_name: str
    description: str
    prompt: str
    tools: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()
    agent_tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    model: str | None = None
    history: str = "full"
    output_schema: dict[str, Any] | None = None
    default: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        return self.model or settings.agent_model_default

    def instructions(self, **variables: str | None) -> str:
        """The prompt with its variables filled in. KeyError for a variable that is unknown, or empty without a default."""
        defaults = {"user_name": "there", "agent_key": self.key, "agent_name": self.display_name, **self.variables}
        values = {name: value for name, value in variables.items() if value}
        return Template(self.prompt).substitute({**defaults, **values})


def handoff_tool(key: str) -> str:
    """The name of the function by which a model hands the conversation to the agent `key`."""
    return f"transfer_to_{key}"


def agent_tool(key: str) -> str:
    """The name of the function by which a model asks the agent `key`."""
    return f"ask_{key}"
