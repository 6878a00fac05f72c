"""Reading the catalogue: the files of the package and of AGENTS_PATH, MCP_TOOLS, and whether all of it fits together."""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.platform.settings import settings
from workers.agents import checks, files
from workers.agents.checks import Fault
from workers.agents.declarations import Agent, Tool
from workers.agents.files import Declared
from workers.agents.mcp_servers import servers
from workers.agents.providers import models_file
from workers.agents.providers.models_file import Models

BUNDLED = Path(__file__).with_name("bundled")
FOLDERS = ("agents", "tools", "workflows")
CHECK_SECONDS = 1.0
Version = tuple[tuple[str, int, int], ...]
_versions: dict[tuple[Path, ...], tuple[float, Version]] = {}


@dataclass(slots=True)
class Found:
    """By name. `absent`: the tools that no provider runs here. `faults`: a line each."""

    agents: dict[str, Declared[Agent]] = field(default_factory=dict)
    files: dict[str, Declared[Tool]] = field(default_factory=dict)
    tools: dict[str, Tool] = field(default_factory=dict)
    absent: dict[str, Tool] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add_files(self, root: Path) -> None:
        """What the files of a folder declare replaces what was declared before."""
        agents, faulty_agents = files.read(root / "agents", Agent, lambda agent: agent.key)
        tools, faulty_tools = files.read(root / "tools", Tool, lambda tool: tool.name)
        if any(declared.value.default for declared in agents.values()):
            self.agents = {
                key: replace(declared, value=replace(declared.value, default=False))
                for key, declared in self.agents.items()
            }
        self.agents |= agents
        self.files |= tools
        self.faults += faulty_agents + faulty_tools

    def add_tools(self, tools: Iterable[Tool]) -> None:
        """Those that the provider runs come first."""
        offered = models_file.models().offer_hosted_tools
        for tool in sorted(tools, key=lambda tool: ("hosted", "function", "mcp").index(tool.kind)):
            if tool.name in self.tools or tool.name in self.absent:
                self.faults.append(f"MCP_TOOLS: there is another tool named {tool.name}")
            elif tool.hosted and not offered:
                self.absent[tool.name] = tool
            else:
                self.tools[tool.name] = tool

    def describe(self, fault: Fault) -> str:
        """A fault with its file and line; a tool of MCP_TOOLS has none."""
        declared = self.agents.get(fault.name) if fault.kind == "agent" else self.files.get(fault.name)
        return f"{declared.at(fault.field)}: {fault}" if declared else str(fault)

    def agents_by_key(self) -> dict[str, Agent]:
        return {key: declared.value for key, declared in self.agents.items()}


def read_all() -> Found:
    """Everything that the files and settings describe, with all that is wrong with it."""
    found = Found()
    for root in roots():
        found.add_files(root)
    found_servers, mcp_faults = servers()
    mcp = [Tool(server.name, "mcp", server.text, hosted=server.hosted, server=server) for server in found_servers]
    found.add_tools([*(declared.value for declared in found.files.values()), *mcp])
    agents = found.agents_by_key()
    found.faults += [*_folder_faults(), *mcp_faults]
    found.faults += map(found.describe, checks.faults(agents, found.tools, found.absent))
    if faults := list(_model_faults(agents, found.tools, models_file.models())):
        found.faults.append(str(models_file.refusal(faults)))
    return found


def roots() -> list[Path]:
    """The folders with agents and tools."""
    return [BUNDLED, *([Path(settings.agents_path)] if settings.agents_path else [])]


def _folder_faults() -> Iterator[str]:
    if not settings.agents_path:
        return
    root = Path(settings.agents_path)
    folders = [root / name for name in FOLDERS if _is_readable(root) and (root / name).is_dir()]
    if not folders:
        yield f"AGENTS_PATH: {root} has none of the folders {', '.join(FOLDERS)}, or this process may not read it"
    yield from (f"AGENTS_PATH: this process may not read {path}" for path in folders if not _is_readable(path))
    if settings.hardened:
        for path in (root, *folders, *(path for folder in folders for path in sorted(folder.glob("*.py")))):
            if path.exists() and path.stat().st_mode & stat.S_IWOTH:
                yield f"AGENTS_PATH: everybody may change {path}, whose code runs here: chmod o-w"


def _is_readable(folder: Path) -> bool:
    """Otherwise it looks like an empty one."""
    return os.access(folder, os.R_OK | os.X_OK)


def _model_faults(agents: dict[str, Agent], tools: dict[str, Tool], models: Models) -> Iterator[str]:
    yield from models.faults()
    for agent in agents.values():
        if faults := list(models.unknown([agent.model_name])):
            yield from (f"agent {agent.key}: {fault}" for fault in faults)
        elif all(target.provider.wire == "chat" for target in models.chain(agent.model_name)):
            needed = [tools[name] for name in agent.tools if name in tools and not tools[name].optional]
            for tool in sorted((tool for tool in needed if tool.hosted), key=lambda tool: tool.name):
                advice = ': write "run": "here" in MCP_TOOLS' if tool.server else ""
                yield f"agent {agent.key}: the chat wire has no tool {tool.name}{advice}"
    allowed = settings.items(settings.agent_models_allowed)
    yield from (f"AGENT_MODELS_ALLOWED: {fault}" for fault in models.unknown(allowed))


# ------------------------------------------------------------- changes


def version() -> Version:
    """Another one after a file has changed. In production, where nobody changes them, they are not looked at."""
    if settings.hardened:
        return ()
    folders, clock = tuple(roots()), time.monotonic()
    checked, known = _versions.get(folders, (clock, None))
    if known is None or clock - checked >= CHECK_SECONDS:
        known = tuple(_stamps(folders))
        _versions[folders] = clock, known
    return known


def _stamps(folders: tuple[Path, ...]) -> Iterator[tuple[str, int, int]]:
    for path in sorted(path for root in folders for name in FOLDERS for path in (root / name).glob("*.*")):
        try:
            status = path.stat()
        except FileNotFoundError:  # deleted just now, or a link to nothing
            continue
        yield str(path), status.st_mtime_ns, status.st_size
