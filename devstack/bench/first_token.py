"""Time to the first text of a chat: through Longshore, through the peer, and from the model directly, in turn."""

import os
import time
from collections.abc import Callable

import httpx
import openai

from devstack.bench.report import Measure, Target, ms, quantile, row
from devstack.bench.tools import Setup, all_services, print_rows, sign_in

COUNT, WARM_UP = 100, 10
QUESTION = "[[deltas=3]] Hello"


def through_service(http: httpx.Client) -> float:
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
    setup = Setup.from_arguments()
    headers = {"Authorization": sign_in(setup.url)["Authorization"]}
    model = openai.OpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    calls: list[Callable[[], float]] = [lambda: direct(model)]
    for service in all_services(setup):
        http = httpx.Client(base_url=service.url, headers=headers, timeout=30)
        calls.append(lambda http=http: through_service(http))  # type: ignore[misc]
    for call in calls * WARM_UP:
        call()
    columns: list[list[float]] = [[] for _ in calls]
    for _ in range(COUNT):
        for call, latencies in zip(calls, columns, strict=True):
            latencies.append(call())
    direct_call, *served = columns
    added = [Measure((1000 * (quantile(latencies, 0.5) - quantile(direct_call, 0.5)),), "ms") for latencies in served]
    scenario, missing = "one chat at a time", [] if len(served) > 1 else [setup.no_peer]
    print_rows(
        [
            row(scenario, "first text, p50 / p99", *(ms(latencies) for latencies in served), *missing),
            row(scenario, "added to the direct call, p50", *added, *missing, target=Target("<=", (8,))),
            row(
                scenario,
                "first text compared with the direct call, p50 / p99",
                ms(served[0]),
                ms(direct_call, note="openai SDK"),
            ),
        ]
    )


if __name__ == "__main__":
    main()
