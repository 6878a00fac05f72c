"""How the demo model uses the passages that a file search has found: it quotes the one that fits best, with its mark."""

import math
import re
from typing import Any

_RESULT = re.compile(r"^(【[\d.]+:\d+】) [^\n]*\n(.*?)(?=\n\n【|\n*\Z)", re.DOTALL | re.MULTILINE)
_MARKED = re.compile(r"([^【】\n]+?)\s*(【[\d.]+:\d+】)")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_FILE = re.compile(r"<file>\n(.*)\n</file>", re.DOTALL)
_WORD = re.compile(r"\w{3,}")
LONGEST = 300  # characters of a quotation


def cite(question: str, output: str) -> str:
    """An answer from what `file_search` has returned."""
    quotations = [
        (sentence.strip(), mark) for mark, text in _RESULT.findall(output) for sentence in _SENTENCE.findall(text)
    ]
    if not quotations:
        return "I found nothing about it in the files."
    sentence, mark = max(quotations, key=lambda quotation: _likeness(question, quotation[0]))
    return f"The files say: {sentence[:LONGEST]} {mark}"


def documents(content: Any) -> list[str]:
    """The files that are written out in the texts of a message."""
    parts = content if isinstance(content, list) else []
    return [text for part in parts for text in _FILE.findall(part.get("text") or "")]


def quote(question: str, texts: list[str]) -> str:
    """The sentence of these texts that fits best."""
    sentences = [sentence.strip() for text in texts for sentence in _SENTENCE.findall(text)]
    best = max(sentences, key=lambda sentence: _likeness(question, sentence), default="")
    return f'The attached file says: "{best[:LONGEST]}"' if best else "The attached file is empty."


def repeat(words: str) -> str | None:
    """An answer from passages with marks that somebody else has put together; None if there are none."""
    marked = _MARKED.findall(words)
    return " ".join(f"{text.strip()[-LONGEST:]} {mark}" for text, mark in marked[:3]) or None


def _likeness(question: str, sentence: str) -> float:
    asked, said = ({word.lower() for word in _WORD.findall(text)} for text in (question, sentence))
    return len(asked & said) / (1 + math.sqrt(len(said)))
