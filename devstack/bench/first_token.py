"""How much later the first text comes than from the model itself."""

import json
import os
import sys
import time

import httpx
import openai

from devstack.bench.tools import ms, quantile, row, sign_in

COUNT = 60
QUESTION = "[[deltas=3]] Hello"


def through_us(http: httpx.Client) -> float:
    began = time.perf_counter()
    with http.stream("POST", "/api/v1/chat/stream", json={"message": QUESTION}) as answer:
        first = None
        for line in answer.iter_lines():
            if first is None and '"text_delta":"' in line:
                first = time.perf_counter() - began
    return first


def direct(client: openai.OpenAI) -> float:
    began, first = time.perf_counter(), None
    for event in client.responses.create(model="gpt-5.1", input=QUESTION, stream=True):
        if first is None and event.type == "response.output_text.delta":
            first = time.perf_counter() - began
    return first


def main() -> None:
    facts = json.loads(sys.argv[1])
    http = httpx.Client(
        base_url=facts["url"], headers={"Authorization": sign_in(facts["url"])["Authorization"]}, timeout=30
    )
    client = openai.OpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
    here, bare = [], []
    for _ in range(5):
        through_us(http), direct(client)
    for _ in range(COUNT):
        here.append(through_us(http))
        bare.append(direct(client))
    added = 1000 * (quantile(here, 0.5) - quantile(bare, 0.5))
    print(
        json.dumps(
            [
                row("first token", "p50 / p90", ms(here, 0.5, 0.9), f"bare SDK call {ms(bare, 0.5, 0.9)}"),
                row("first token", "added p50", f"{added:.1f} ms", "", "<= 25 ms"),
            ]
        )
    )


if __name__ == "__main__":
    main()
