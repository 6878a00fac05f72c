"""When the first text of a chat comes: through us, through the peer, and from the model itself, in turn."""

import os
import time
from collections.abc import Callable

import httpx
import openai

from devstack.bench.report import Asked, Measure, ms, quantile, row
from devstack.bench.tools import Facts, sign_in, targets, tell

COUNT, WARM_UP = 100, 10
QUESTION = "[[deltas=3]] Hello"


def through(http: httpx.Client) -> float:
    began, first = time.perf_counter(), 0.0
    with http.stream("POST", "/api/v1/chat/stream", json={"message": QUESTION}) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if not first and '"text_delta":"' in line:
                first = time.perf_counter() - began
    return first


def direct(client: openai.OpenAI) -> float:
    began, first = time.perf_counter(), 0.0
    for event in client.responses.create(model="gpt-5.1", input=QUESTION, stream=True):
        if not first and event.type == "response.output_text.delta":
            first = time.perf_counter() - began
    return first


def main() -> None:
    facts = Facts.given()
    who = {"Authorization": sign_in(facts.url)["Authorization"]}
    model = openai.OpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    ways: list[Callable[[], float]] = [lambda: direct(model)]
    for target in targets(facts):
        http = httpx.Client(base_url=target.url, headers=who, timeout=30)
        ways.append(lambda http=http: through(http))  # type: ignore[misc]
    for way in ways * WARM_UP:
        way()
    columns: list[list[float]] = [[] for _ in ways]
    for _ in range(COUNT):
        for way, waits in zip(ways, columns, strict=True):
            waits.append(way())
    bare, *served = columns
    added = [Measure((1000 * (quantile(waits, 0.5) - quantile(bare, 0.5)),), "ms") for waits in served]
    what, missing = "one chat at a time", [] if len(served) > 1 else [facts.no_peer]
    tell(
        [
            row(what, "first text p50 / p99", *(ms(waits) for waits in served), *missing),
            row(what, "added to the bare call, p50", *added, *missing, asked=Asked("<=", (8,))),
            row(what, "first text p50 / p99, beside the bare call", ms(served[0]), ms(bare, note="openai SDK")),
        ]
    )


if __name__ == "__main__":
    main()
