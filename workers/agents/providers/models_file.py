"""The models that agents may use: providers, aliases and fall-back chains, from a TOML file. It only declares."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from models.platform.connections import http_problems
from models.platform.redaction import keep_secret
from models.platform.settings import settings

BUNDLED = Path(__file__).with_name("models.toml")
DEFAULT = "openai"  # the provider of model names without one; the OPENAI_... settings describe it
SETTINGS = ("models_path", "openai_api_key", "openai_base_url", "openai_timeout_seconds", "openai_wire")
Name = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9_.-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Wire = Literal["responses", "chat"]


class Provider(BaseModel):
    """A server and how to talk to it. Keys and headers are read from the environment when its client is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    base_url: str | None = Field(None, pattern=r"^https?://[^\s]+$")  # OpenAI's own if None
    key_env: str | None = None  # the environment variable with the key; none: a server that wants no key
    wire: Wire | Literal["auto"] = "auto"
    headers: dict[str, str] = {}  # $NAME in a value is replaced by that environment variable
    connect_seconds: Seconds = 5
    read_seconds: Seconds = Field(default_factory=lambda: settings.openai_timeout_seconds)
    attempts: int = Field(3, ge=1, le=10)  # until the first event; the pauses between them grow
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # its name on the chat wire
    send_reasoning: bool = False  # on the chat wire: whether the server wants its reasoning back with its tool calls
    mcp_credentials: bool | None = None  # whether those of MCP_TOOLS are sent to it; None: to the default provider only
    send_trace: bool = False  # whether it is told the trace and the span that ask, as `traceparent`
    context_tokens: int | None = Field(None, ge=100)  # that a model of it is given; None: AGENT_CONTEXT_TOKENS
    omit: tuple[str, ...] = ()  # fields of a request that the server refuses
    extra: dict[str, Any] = {}  # fields that are added to every request

    # A client belongs to one provider, so providers are compared by identity.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def may_have_mcp_credentials(self) -> bool:
        return self.name == DEFAULT if self.mcp_credentials is None else self.mcp_credentials

    def key(self) -> str | None:
        """The key, None without one."""
        if self.key_env == "OPENAI_API_KEY":
            return settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        return os.environ.get(self.key_env) or None if self.key_env else None

    def sent_headers(self) -> dict[str, str]:
        return {name: Template(value).safe_substitute(os.environ) for name, value in self.headers.items()}

    def secrets(self) -> Iterator[str]:
        """What was read from the environment, and nobody may see."""
        if key := self.key():
            yield key
        for value in self.headers.values():
            yield from filter(None, (os.environ.get(name) for name in Template(value).get_identifiers()))

    def faults(self) -> Iterator[str]:
        """An address that is unsafe, and variables that are not set. The default provider works without a key in development."""
        if settings.hardened:
            yield from http_problems(f"providers.{self.name}.base_url", self.base_url, settings)
        if self.key_env and self.key_env != "OPENAI_API_KEY" and not self.key():
            yield f"providers.{self.name}.key_env: the environment variable {self.key_env} is not set"
        for name, value in self.headers.items():
            template = Template(value)
            if not template.is_valid():
                yield f"providers.{self.name}.headers.{name}: write $$ for a dollar sign"
            for variable in template.get_identifiers():
                if not os.environ.get(variable):
                    yield f"providers.{self.name}.headers.{name}: the environment variable {variable} is not set"


class ModelsFile(BaseModel, extra="forbid"):
    """`aliases`: another name for a model, or for a chain of models, of which the first one that can answer does.
    `context_tokens`: by model, where it is not that of the provider. `text_only`: models that cannot see images."""

    providers: dict[Name, Provider] = {}
    aliases: dict[Name, str | Annotated[list[str], Field(min_length=1)]] = {}
    context_tokens: dict[str, Annotated[int, Field(ge=100)]] = {}
    text_only: list[str] = []


class UnknownModel(ValueError):
    pass


class Target(NamedTuple):
    """A model at a provider."""

    provider: Provider
    model: str

    @property
    def name(self) -> str:
        return self.label(self.model)

    @property
    def names(self) -> tuple[str, str]:
        """What the models file may call it."""
        return self.name, f"{self.provider.name}:{self.model}"

    def label(self, model: str) -> str:
        """How we name a model of this provider."""
        return model if self.provider.name == DEFAULT else f"{self.provider.name}:{model}"


class Models:
    def __init__(self, file: ModelsFile, *, is_bundled: bool = False) -> None:
        self.providers, self.is_bundled = file.providers, is_bundled
        self.aliases = {name: [to] if isinstance(to, str) else to for name, to in file.aliases.items()}
        self.context_tokens_of = file.context_tokens
        self.text_only = frozenset(file.text_only)

    def chain(self, name: str) -> list[Target]:
        """The models that this name stands for, in the order in which they are tried. UnknownModel."""
        return [self._target(model) for model in self.aliases.get(name) or [name]]

    def context_tokens(self, name: str) -> int:
        """The tokens that every model of this chain may be given. UnknownModel."""
        return min(self._context_tokens(target) for target in self.chain(name))

    def _context_tokens(self, target: Target) -> int:
        default = target.provider.context_tokens or settings.agent_context_tokens
        return next((self.context_tokens_of[name] for name in target.names if name in self.context_tokens_of), default)

    def sees_images(self, name: str) -> bool:
        """Whether every model of this chain can be shown images. UnknownModel."""
        return self.text_only.isdisjoint(name for target in self.chain(name) for name in target.names)

    def _target(self, name: str) -> Target:
        prefix, colon, model = name.partition(":")
        if colon and model and prefix in self.providers:
            return Target(self.providers[prefix], model)
        # Without a file there is one provider, whose models may have colons in their names.
        if (colon and not self.is_bundled) or not name:
            raise UnknownModel(f"{name!r} names no provider of the models file")
        return Target(self.providers[DEFAULT], name)

    @property
    def offer_hosted_tools(self) -> bool:
        """Whether a provider may run tools itself."""
        return any(provider.wire != "chat" and provider.key() for provider in self.providers.values())

    def faults(self) -> Iterator[str]:
        for provider in self.providers.values():
            yield from provider.faults()
        for alias, names in self.aliases.items():
            if len(set(names)) < len(names):
                yield f"aliases.{alias}: names a model twice"
            yield from (f"aliases.{alias}: {fault}" for fault in self.unknown(names))
        yield from (f"context_tokens: {fault}" for fault in self.unknown(self.context_tokens_of))
        yield from (f"text_only: {fault}" for fault in self.unknown(self.text_only))

    def unknown(self, names: Iterable[str]) -> Iterator[str]:
        """What is wrong with these names."""
        for name in names:
            try:
                self.chain(name)
            except UnknownModel as error:
                yield str(error)


def models() -> Models:
    """The models of this process. SystemExit if the file does not have the right form. Cheap to call."""
    return _load(tuple(getattr(settings, name) for name in SETTINGS))


@lru_cache(maxsize=8)
def _load(values: tuple[object, ...]) -> Models:
    # The arguments only key the cache.
    found = read_models(Path(settings.models_path or BUNDLED))
    keep_secret(secret for provider in found.providers.values() for secret in provider.secrets())
    return found


def read_models(path: Path) -> Models:
    """The models in a file. SystemExit with all faults if it cannot be read or does not have the right form."""
    try:
        tables = tomllib.loads(path.read_text())
        file = ModelsFile.model_validate({**tables, "providers": _named(tables.get("providers", {}))})
    except ValidationError as error:
        raise refusal(_describe(fault) for fault in error.errors()) from None
    except (OSError, ValueError, TypeError) as error:
        raise refusal([str(error)]) from None
    return Models(file, is_bundled=path == BUNDLED)


def _named(tables: dict[str, Any]) -> dict[str, Any]:
    tables = {**tables, DEFAULT: {**_default_provider(), **tables.get(DEFAULT, {})}}
    return {name: {**table, "name": name} for name, table in tables.items()}


def _default_provider() -> dict[str, Any]:
    """What the settings say of the default provider. On the chat wire OpenAI itself has a name of its own for the limit."""
    is_openai = settings.openai_base_url is None
    return {
        "base_url": settings.openai_base_url,
        "key_env": "OPENAI_API_KEY",
        "wire": settings.openai_wire,
        "token_limit": "max_completion_tokens" if is_openai else "max_tokens",
    }


def _describe(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"] if not re.search(r"[^\w.-]", str(part)))
    return f"{where}: {fault['msg']}"


def refusal(faults: Iterable[str]) -> SystemExit:
    lines = "".join(f"\n  {fault}" for fault in faults)
    return SystemExit(f"The models of {settings.models_path or BUNDLED} cannot be used:{lines}")
