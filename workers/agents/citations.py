"""Citations. A tool that finds something in a file gives it a mark; an answer that repeats the mark cites the file."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Annotation = dict[str, Any]
Source = dict[str, Any]  # label, file_id, filename, and perhaps page and vector_store_id
MARK = re.compile(r"【(\d[\d.]{0,39}:\d{1,4})(?:†[^】]{0,200})?】")
MOST = 500  # annotations of an answer


def label_of(scope: str, number: int) -> str:
    """What the marks of a call begin with: unique in the run, and the same for every attempt of the call."""
    return ".".join([*filter(None, scope.split("/")), str(number)])


def mark(label: str) -> str:
    return f"【{label}】"


def found_in(text: str, sources: Mapping[str, Source]) -> list[Annotation]:
    """The `file_citation`s of a text, in its order. `index`: of the first character of the mark."""
    cited = [(match, sources[match[1]]) for match in MARK.finditer(text) if match[1] in sources]
    return [
        {
            "type": "file_citation",
            "index": match.start(),
            "text": match[0],
            **{name: value for name, value in source.items() if name != "label"},
        }
        for match, source in cited[:MOST]
    ]


def cited(text: str, sources: Mapping[str, Source]) -> list[Source]:
    """The sources whose marks are in a text, each once."""
    labels = dict.fromkeys(match[1] for match in MARK.finditer(text))
    return [sources[label] for label in labels if label in sources]


def by_label(sources: Iterable[Source]) -> dict[str, Source]:
    return {source["label"]: source for source in sources}


def without_marks(text: str) -> str:
    """An earlier answer, as a model is given it: its marks could be taken for those of what is found now."""
    return MARK.sub("", text) if "【" in text else text
