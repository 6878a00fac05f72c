"""How many of a worker process's threads the jobs of one queue may take.

A queue whose jobs wait long for others, or work long, never takes all: whoever uploads or attaches thousands of files, and a
storage that hangs, delay no mail and no event of billing. A process for one of these queues alone needs threads accordingly.
"""

SHARES = {"index": 0.5, "files": 0.25}


def share_of(queue_name: str, threads: int) -> int:
    """At least one."""
    return max(1, int(threads * SHARES.get(queue_name, 1)))
