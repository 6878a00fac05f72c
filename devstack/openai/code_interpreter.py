"""The hosted code interpreter: which code the demo model writes, and the container in which it really runs."""

import ast
import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from devstack.openai.container_store import DATA, Container, ContainerFile, Containers
from devstack.openai.containers import check_memory, read_file_ids
from devstack.openai.errors import invalid, missing
from devstack.openai.request import Request
from devstack.openai.sandbox.process import Outcome

OUTPUTS = "code_interpreter_call.outputs"  # in `include`: show what the code printed and drew
_PNG = b"\x89PNG\r\n\x1a\n"
_PLOT = re.compile(r"\b(plot|plots|chart|graph|histogram)\b", re.IGNORECASE)
_CALCULATE = re.compile(r"\b(calculate|compute|work out)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")
_FORMULA = re.compile(r"(?:[-+*/^(). \d]|\b(?:sin|cos|tan|exp|sqrt|log|abs)\b|(?<![a-z])x(?![a-z]))+", re.IGNORECASE)
_SUM = re.compile(r"[-+*/^(). \d%]+")
_LONGEST_SHOWN = 1000  # characters of the code's output in the answer


@dataclass
class CodeRun:
    """Code that an answer runs. It is run while the answer is sent; then `outcome` and `files` say what came of it."""

    code: str
    containers: Containers | None = None
    container: Container | None = None
    outcome: Outcome | None = None
    files: list[ContainerFile] = field(default_factory=list)

    def run(self) -> Outcome:
        if self.containers is None or self.container is None:
            raise RuntimeError("no container was assigned")
        self.outcome, self.files = self.containers.run(self.container, self.code)
        return self.outcome

    def outputs(self) -> list[dict[str, str]]:
        """What the code printed, and the figures that it showed."""
        logs = self.outcome.logs if self.outcome else ""
        found = [{"type": "logs", "logs": logs}] if logs else []
        urls = (f"data:image/png;base64,{base64.b64encode(content).decode()}" for content in self._figures())
        return found + [{"type": "image", "url": url} for url in urls]

    def _figures(self) -> Iterable[bytes]:
        for file in self.files:
            if self.containers and self.container and re.fullmatch(r"figure-\d+\.png", file.name):
                content = self.containers.read(self.container, file)
                if content.startswith(_PNG):
                    yield content


@dataclass
class Report:
    """The text that tells what the code did. It is written after the run."""

    run: CodeRun

    def text(self) -> tuple[str, list[dict[str, Any]]]:
        """The text, and its annotations: a citation of each file."""
        text, citations = _said(self.run.outcome), []
        for file in self.run.files:
            text += f" [{file.name}]("
            start = len(text)
            text += f"sandbox:{DATA}{file.name}"
            citations.append(
                {
                    "type": "container_file_citation",
                    "container_id": self.run.container.id if self.run.container else "",
                    "file_id": file.id,
                    "filename": file.name,
                    "start_index": start,
                    "end_index": len(text),
                }
            )
            text += ")"
        return f"{text} This is Longshore's built-in demo model, but the code really ran.", citations


def _said(outcome: Outcome | None) -> str:
    logs = outcome.logs if outcome else ""
    shown = logs if len(logs) <= _LONGEST_SHOWN else f"{logs[:_LONGEST_SHOWN]}…"
    if outcome and outcome.failed:
        return f"I ran Python, and it failed: {shown}"
    return f"I ran Python, and it says: {shown}" if shown else "I ran Python."


# ------------------------------------------------------------- the tool


def tool_of(request: Request) -> dict[str, Any] | None:
    """The tool's declaration, if the request offers it."""
    return next((tool for tool in request.body.get("tools") or () if tool["type"] == "code_interpreter"), None)


def _check_tool(tool: dict[str, Any], where: str) -> None:
    """ApiError 400 unless its container is an id or the wish for one."""
    container = tool.get("container")
    if container is None:
        raise missing(f"{where}.container")
    if isinstance(container, str):
        return
    if not isinstance(container, dict) or container.get("type") != "auto":
        raise invalid(f"Invalid value for '{where}.container'.", f"{where}.container", "invalid_value")
    check_memory(container.get("memory_limit") or "1g", f"{where}.container.memory_limit")
    read_file_ids(container.get("file_ids"), f"{where}.container.file_ids")


def assign(request: Request, runs: Iterable[CodeRun], containers: Containers) -> None:
    """Give the code of an answer its container: the named one, that of an earlier call in the input, or a new one.

    ApiError if the named one is not known or has expired, whether or not there is code.
    """
    for at, tool in enumerate(request.body.get("tools") or ()):
        if tool["type"] == "code_interpreter":
            _check_tool(tool, f"tools[{at}]")
    offered = tool_of(request)
    wish = offered["container"] if offered else {}
    if isinstance(wish, str):
        containers.alive(wish)
    for run in runs:
        if isinstance(wish, str):
            container = containers.alive(wish)
        else:
            container = _earlier(request, containers) or containers.create(
                "auto", wish.get("memory_limit") or "1g", file_ids=tuple(wish.get("file_ids") or ())
            )
        run.containers, run.container = containers, container


def _earlier(request: Request, containers: Containers) -> Container | None:
    ids = [item.get("container_id") for item in request.items if item.get("type") == "code_interpreter_call"]
    known = [one for one in containers.listed() if one.id in ids and not one.expired]
    return known[-1] if known else None


# ------------------------------------------------------------- plain words


def asks_for_code(words: str) -> bool:
    """Whether a message asks for what code is run for."""
    return code_for(words) is not None


def code_for(words: str) -> str | None:
    """The Python for a message that asks for a plot or a calculation; None for any other."""
    if _PLOT.search(words):
        return _plot(words)
    if _CALCULATE.search(words) and (term := _longest(_SUM, words, need=r"\d\s*[-+*/^%]")):
        return term
    return None


def _plot(words: str) -> str:
    numbers = _NUMBER.findall(words)
    if formula := _longest(_FORMULA, words, need=r"(?<![a-z])x(?![a-z])"):
        return (
            "import matplotlib.pyplot as plt\nimport numpy as np\nfrom numpy import abs, cos, exp, log, sin, sqrt, tan\n\n"
            f'np.seterr(all="ignore")\nx = np.linspace(-10, 10, 400)\nplt.plot(x, {formula})\n'
            f'plt.title("{formula}")\nplt.grid(True)\nplt.show()\n'
        )
    if len(numbers) >= 2:
        kind = "hist" if "histogram" in words.lower() else "bar" if "bar" in words.lower() else "plot"
        values = f"[{', '.join(numbers)}]"
        drawn = f"plt.bar(range({len(numbers)}), {values})" if kind == "bar" else f"plt.{kind}({values})"
        return f"import matplotlib.pyplot as plt\n\n{drawn}\nplt.grid(True)\nplt.show()\n"
    return _plot("plot sin(x)")


def _longest(pattern: re.Pattern[str], words: str, *, need: str) -> str | None:
    """The longest part of a message that the pattern matches, that has what is needed and is Python."""
    for found in sorted(pattern.findall(words), key=len, reverse=True):
        term = re.sub(r"(\d)\s*(x|sin|cos|tan|exp|sqrt|log|\()", r"\1*\2", found.strip(" .").lower().replace("^", "**"))
        if re.search(need, term) and _is_python(term):
            return term
    return None


def _is_python(term: str) -> bool:
    try:
        ast.parse(term, mode="eval")
    except SyntaxError:
        return False
    return True
