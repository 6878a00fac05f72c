"""Texts to be indexed, which depend on a seed only."""

import random
import re

WORDS = re.findall(
    r"\w+",
    "harbour crane pilot tide anchor cargo vessel storm beacon rope captain signal engine ledger customs market "
    "winter river bridge station letter garden mirror copper silver planet orbit crystal theory method",
)


def prose(seed, words=60):
    """Sentences that depend on the seed only."""
    rng = random.Random(seed)
    return " ".join(" ".join(rng.choice(WORDS) for _ in range(10)).capitalize() + "." for _ in range(words // 10))


def document(pages, seed=1):
    return "\n\n".join(prose(f"{seed}-{page}", 300) for page in range(pages))
