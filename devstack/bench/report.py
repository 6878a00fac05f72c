"""Rows of figures: ours, the peer's beside them, how many times better ours are, and what is asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from rich.console import Console
from rich.table import Table

Better = Literal["lower", "higher"]
CAPTION = "ratio: how many times better ours is (below 1: the peer is better); p50 / p99 are told as pairs"


class Row(TypedDict):
    what: str
    figure: str
    here: str
    peer: str
    ratio: str
    asked: str
    met: bool | None  # None: nothing is asked, or it cannot be told without the peer
    numbers: dict[str, Any]  # the same without words: unit, better, here, peer, ratio


@dataclass(frozen=True)
class Measure:
    """Numbers of one unit that belong together, such as p50 and p99. `note` is read after them."""

    numbers: tuple[float, ...]
    unit: str
    note: str = ""

    def __str__(self) -> str:
        text = f"{' / '.join(map(shown, self.numbers))} {self.unit}".strip()
        return f"{text} ({self.note})" if self.note else text


@dataclass(frozen=True)
class Asked:
    """What is asked of our numbers, or with `times` of their ratio to the peer's."""

    rule: Literal["<=", ">=", "times"]
    numbers: tuple[float, ...]

    def text(self, unit: str) -> str:
        limit = " / ".join(f"{number:g}" for number in self.numbers)
        return f"{limit} x peer" if self.rule == "times" else f"{self.rule} {limit} {unit}".strip()

    def met(self, here: Sequence[float], ratio: Sequence[float]) -> bool | None:
        figures = ratio if self.rule == "times" else here
        if len(figures) != len(self.numbers):
            return None
        if self.rule == "<=":
            return all(is_ <= limit for is_, limit in zip(figures, self.numbers, strict=True))
        return all(is_ >= limit for is_, limit in zip(figures, self.numbers, strict=True))


def row(
    what: str,
    figure: str,
    here: Measure | str,
    peer: Measure | str = "",
    *,
    asked: Asked | None = None,
    better: Better = "lower",
) -> Row:
    ours = here.numbers if isinstance(here, Measure) else ()
    theirs = peer.numbers if isinstance(peer, Measure) else ()
    unit = here.unit if isinstance(here, Measure) else ""
    ratio = ratios(ours, theirs, better)
    return {
        "what": what,
        "figure": figure,
        "here": str(here),
        "peer": str(peer),
        "ratio": " / ".join(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in ratio),
        "asked": asked.text(unit) if asked else "",
        "met": asked.met(ours, ratio) if asked else None,
        "numbers": {"unit": unit, "better": better, "here": ours, "peer": theirs, "ratio": ratio},
    }


def ratios(here: Sequence[float], peer: Sequence[float], better: Better) -> tuple[float, ...]:
    """Number by number; of unlike many numbers (two processes against one) that of their sums."""
    if not here or not peer:
        return ()
    pairs = list(zip(here, peer, strict=True)) if len(here) == len(peer) else [(sum(here), sum(peer))]
    if any(not ours > 0 or not theirs > 0 for ours, theirs in pairs):
        return ()
    return tuple(theirs / ours if better == "lower" else ours / theirs for ours, theirs in pairs)


def shown(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which that part of `values` lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def ms(seconds: Sequence[float], *parts: float, note: str = "") -> Measure:
    """Quantiles in milliseconds; p50 and p99 unless others are named."""
    return Measure(tuple(1000 * quantile(seconds, part) for part in parts or (0.5, 0.99)), "ms", note)


def as_table(rows: list[Row]) -> None:
    table = Table(
        "what", "figure", "here", "peer", "ratio", "asked", box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    verdict = {True: " (met)", False: " (missed)", None: ""}
    for one in rows:
        asked = f"{one['asked']}{verdict[one['met']]}" if one["asked"] else ""
        table.add_row(one["what"], one["figure"], one["here"], one["peer"], one["ratio"], asked)
    Console(width=190, highlight=False, markup=False).print(table)


def as_json(rows: list[Row]) -> str:
    return json.dumps(rows, indent=2)
