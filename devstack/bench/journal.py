"""What the journal costs: chats with and without its writes, in turn, on the same processes."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from devstack.bench.chats import DELTAS, Tally, burst  # noqa: E402
from devstack.bench.report import Measure, Row, Target, row  # noqa: E402
from devstack.bench.tools import Setup, all_services, print_rows, sign_in  # noqa: E402

CHATS, ROUNDS = 100, 12
MESSAGES = {
    "plain chats": f"[[deltas={DELTAS} delay=20ms]] Tell me",
    "chats with a tool call": f"[[deltas={DELTAS} delay=20ms tool=get_current_time]] Tell me",
}
SWITCH = Path(os.environ["BENCH_NO_JOURNAL"])
WITHIN = Target("ratio", (0.91,))  # at most a tenth more


def compare(setup: Setup, user: dict[str, str], message: str) -> tuple[Tally, Tally]:
    """The results with the journal, and without it."""
    [service], tallies = all_services(setup), (Tally(), Tally())
    for number in range(2 * ROUNDS):
        # with, without, without, with: so that neither gets the busier moments
        is_off = number % 4 in (1, 2)
        SWITCH.touch() if is_off else SWITCH.unlink(missing_ok=True)
        burst(CHATS, 0, service, setup, user, tallies[is_off], message=message)
        gevent.sleep(0.3)
    return tallies


def rows_of(scenario: str, with_journal: Tally, without: Tally) -> list[Row]:
    tallies = (with_journal, without)
    names = sorted(with_journal.cpu.keys() - {"client", "openai"})
    parts = [", ".join(f"{name} {tally.cost([name]).numbers[0]:.2f}" for name in names) for tally in tallies]
    rates = [Measure((tally.chats / tally.seconds,), "chats/s") for tally in tallies]
    costs = [Measure((sum(tally.cost(names).numbers),), "ms") for tally in tallies]
    complete = [f"{tally.complete} of {tally.chats}, {tally.stored} stored" for tally in tallies]
    return [
        row(scenario, "chats per second (peer: without the journal)", *rates, better="higher", target=WITHIN),
        row(scenario, "CPU per chat, all but client and model", *costs, target=WITHIN),
        row(scenario, "CPU of each, ms per chat", *parts),
        row(scenario, "complete", *complete),
    ]


def main() -> None:
    setup = Setup.from_arguments()
    user = sign_in(setup.url)
    for message in MESSAGES.values():  # warm up
        burst(200, 0, all_services(setup)[0], setup, user, Tally(), message=message)
    print_rows([row for name, text in MESSAGES.items() for row in rows_of(name, *compare(setup, user, text))])


if __name__ == "__main__":
    main()
