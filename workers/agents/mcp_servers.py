"""The MCP servers of MCP_TOOLS: what an entry says. It only declares."""

from collections import Counter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from models.platform.settings import settings

Name = r"^[a-zA-Z0-9_-]{1,64}$"


class Names(BaseModel, extra="forbid"):
    tool_names: list[str] = []


class ApprovalRule(BaseModel, extra="forbid"):
    """Which tools always need approval, and which never do."""

    always: Names = Names()
    never: Names = Names()


class McpServer(BaseModel):
    """A server whose tools agents have if they name it among their tools.

    run             who talks to it: the model's provider, or we, which works with every model
    authorization   the access token that is sent to it
    auto_approve_tools, deny_tools  tools that need no approval, and those that nobody may call; the others do as
                    require_approval says
    seconds         that one call may take, where we talk to it
    send_trace      whether it is told the trace and the span that call, where we talk to it
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    name: str = Field(pattern=Name)
    server_label: str = Field(pattern=Name)
    server_url: str | None = Field(None, pattern=r"^https?://[^\s]+$")
    connector_id: str | None = None
    authorization: SecretStr | None = None
    headers: dict[str, SecretStr] = {}
    run: Literal["provider", "here"] = "provider"
    require_approval: Literal["always", "never"] | ApprovalRule = "always"
    allowed_tools: list[str] | None = None
    auto_approve_tools: list[str] = []
    deny_tools: list[str] = []
    description: str | None = None
    seconds: float = Field(30, gt=0, le=600)
    send_trace: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "McpServer":
        denied = set(self.deny_tools)
        if bool(self.server_url) == bool(self.connector_id):
            raise ValueError("needs exactly one of server_url and connector_id")
        if self.connector_id and self.run == "here":
            raise ValueError("only the provider can run a connector")
        if self.run == "here" and ("__" in self.server_label or self.server_label.endswith("_")):
            raise ValueError("a server_label must not contain __ nor end with _: two tools could have one name")
        if denied & {*self.auto_approve_tools, *(self.allowed_tools or ()), *self._never()}:
            raise ValueError("both allows and denies a tool")
        if denied and self.require_approval == "never" and self.run == "provider":
            raise ValueError("the provider calls denied tools if it needs no approval: write allowed_tools instead")
        return self

    def _never(self) -> list[str]:
        return self.require_approval.never.tool_names if isinstance(self.require_approval, ApprovalRule) else []

    @property
    def text(self) -> str:
        return self.description or f"MCP server {self.name}."

    def offers(self, tool: str) -> bool:
        """Whether agents may call this tool of the server at all."""
        return tool not in self.deny_tools and (self.allowed_tools is None or tool in self.allowed_tools)

    def needs_approval(self, tool: str) -> bool:
        """Whether a person has to approve each call of this tool."""
        if tool in self.auto_approve_tools or tool in self._never():
            return False
        return self.require_approval != "never"

    def sent_headers(self) -> dict[str, str]:
        """The headers of every request that we send to it."""
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.authorization:
            headers["Authorization"] = f"Bearer {self.authorization.get_secret_value()}"
        return headers

    @property
    def hosted(self) -> dict[str, Any] | None:
        """The declaration for the provider; None if we talk to the server."""
        if self.run == "here":
            return None
        rule: Any = (
            self.require_approval if isinstance(self.require_approval, str) else self.require_approval.model_dump()
        )
        if self.auto_approve_tools and rule != "never":
            rule = {"never": {"tool_names": [*self.auto_approve_tools, *self._never()]}}
        hosted = {
            "type": "mcp",
            "server_label": self.server_label,
            "server_url": self.server_url,
            "connector_id": self.connector_id,
            "authorization": self.authorization and self.authorization.get_secret_value(),
            "headers": {name: value.get_secret_value() for name, value in self.headers.items()} or None,
            "allowed_tools": self.allowed_tools,
            "require_approval": rule,
        }
        return {key: value for key, value in hosted.items() if value is not None}


def servers() -> tuple[list[McpServer], list[str]]:
    """The servers of MCP_TOOLS, and a line for each fault. No line has a value: it may be a secret."""
    found, faults = [], []
    for number, entry in enumerate(settings.mcp_tools.get_secret_value()):
        try:
            found.append(McpServer.model_validate(entry))
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_input=False, include_context=False):
                where = ".".join(map(str, (f"MCP_TOOLS[{number}]", *fault["loc"])))
                faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    for field in ("name", "server_label"):
        counts = Counter(getattr(server, field) for server in found)
        faults += [f"MCP_TOOLS: two servers have the {field} {value}" for value, count in counts.items() if count > 1]
    return found, faults
