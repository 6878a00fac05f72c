"""Titles of conversations: the first words of the first question, until somebody chooses another one."""

import textwrap

CHARACTERS = 60  # of a title that is made of a question
LONGEST = 200  # characters of a title that somebody chooses
BEGINNING = 1000  # characters of a question that are looked at


def title_of(question: str) -> str | None:
    """The first words of a question, in one line of at most 60 characters. None if it has no words."""
    text = " ".join(question.lstrip()[:BEGINNING].split())
    if len(text) <= CHARACTERS:
        return text or None
    short = textwrap.shorten(text, CHARACTERS, placeholder="…")
    # A first word that is too long, or a language that has no spaces
    return short if len(short) > 1 else text[: CHARACTERS - 1] + "…"
