"""The garbage collector, told when a process has loaded all that it needs."""

import gc


def settle() -> None:
    """What is loaded by now stays: the collector need not look at it again, and need not look so often at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
