"""Rows of results: ours, the peer's, the ratio of the two, and the target."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from rich.console import Console
from rich.table import Table

Better = Literal["lower", "higher"]
CAPTION = (
    "ratio: how many times better ours is (below 1: the peer is better); for pairs such as p50 / p99, one ratio each"
)


class Row(TypedDict):
    scenario: str
    metric: str
    ours: str
    peer: str
    ratio: str
    target: str
    met: bool | None  # None: there is no target, or no peer to compare with
    numbers: dict[str, Any]  # the values as numbers: unit, better, ours, peer, ratio


@dataclass(frozen=True)
class Measure:
    """Numbers that belong together, such as p50 and p99, with one unit. The note is printed after them in parentheses."""

    numbers: tuple[float, ...]
    unit: str
    note: str = ""

    def __str__(self) -> str:
        text = f"{' / '.join(map(format_number, self.numbers))} {self.unit}".strip()
        return f"{text} ({self.note})" if self.note else text


@dataclass(frozen=True)
class Target:
    """The target for our numbers, or with the rule `ratio` for their ratio to the peer's."""

    rule: Literal["<=", ">=", "ratio"]
    numbers: tuple[float, ...]

    def text(self, unit: str) -> str:
        limit = " / ".join(f"{number:g}" for number in self.numbers)
        return f"{limit} x peer" if self.rule == "ratio" else f"{self.rule} {limit} {unit}".strip()

    def met(self, ours: Sequence[float], ratio: Sequence[float]) -> bool | None:
        values = ratio if self.rule == "ratio" else ours
        if len(values) != len(self.numbers):
            return None
        if self.rule == "<=":
            return all(value <= limit for value, limit in zip(values, self.numbers, strict=True))
        return all(value >= limit for value, limit in zip(values, self.numbers, strict=True))


def row(
    scenario: str,
    metric: str,
    ours: Measure | str,
    peer: Measure | str = "",
    *,
    target: Target | None = None,
    better: Better = "lower",
) -> Row:
    our_numbers = ours.numbers if isinstance(ours, Measure) else ()
    peer_numbers = peer.numbers if isinstance(peer, Measure) else ()
    unit = ours.unit if isinstance(ours, Measure) else ""
    ratio = ratios(our_numbers, peer_numbers, better)
    return {
        "scenario": scenario,
        "metric": metric,
        "ours": str(ours),
        "peer": str(peer),
        "ratio": " / ".join(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in ratio),
        "target": target.text(unit) if target else "",
        "met": target.met(our_numbers, ratio) if target else None,
        "numbers": {"unit": unit, "better": better, "ours": our_numbers, "peer": peer_numbers, "ratio": ratio},
    }


def ratios(ours: Sequence[float], peer: Sequence[float], better: Better) -> tuple[float, ...]:
    """One ratio per number; if the counts differ (two processes compared with one), the ratio of the sums."""
    if not ours or not peer:
        return ()
    pairs = list(zip(ours, peer, strict=True)) if len(ours) == len(peer) else [(sum(ours), sum(peer))]
    if any(not ours > 0 or not theirs > 0 for ours, theirs in pairs):
        return ()
    return tuple(theirs / ours if better == "lower" else ours / theirs for ours, theirs in pairs)


def format_number(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def quantile(values: Sequence[float], part: float) -> float:
    """The quantile of `values`, with `part` between 0 and 1; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def ms(seconds: Sequence[float], *parts: float, note: str = "") -> Measure:
    """Quantiles in milliseconds; p50 and p99 by default."""
    return Measure(tuple(1000 * quantile(seconds, part) for part in parts or (0.5, 0.99)), "ms", note)


def print_table(rows: list[Row]) -> None:
    table = Table(
        "scenario",
        "metric",
        "Longshore",
        "peer",
        "ratio",
        "target",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    verdict = {True: " (met)", False: " (missed)", None: ""}
    for entry in rows:
        target = f"{entry['target']}{verdict[entry['met']]}" if entry["target"] else ""
        table.add_row(entry["scenario"], entry["metric"], entry["ours"], entry["peer"], entry["ratio"], target)
    Console(width=190, highlight=False, markup=False).print(table)


def as_json(rows: list[Row]) -> str:
    return json.dumps(rows, indent=2)
