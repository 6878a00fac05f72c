"""Pages of lists."""

from collections.abc import Iterator
from itertools import islice

from devstack.stripe.errors import malformed
from devstack.stripe.expand import hide
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object, listed
from devstack.stripe.world import World

FIELDS = "limit starting_after ending_before created"
_USUAL, _MOST = 10, 100


def page(world: World, params: Params, found: Iterator[Object], url: str) -> Object:
    """One page of what was found, which begins at the cursor already; `has_more` says whether something follows."""
    limit = params.number("limit", _USUAL)
    if not 1 <= limit <= _MOST:
        raise malformed(f"Invalid limit: it must be between 1 and {_MOST}.", "limit", "parameter_invalid_integer")
    if "starting_after" in params and "ending_before" in params:
        raise malformed("You may only specify one of these parameters: ending_before, starting_after.", "ending_before")
    items = [hide(world.shown(item)) for item in islice(found, limit + 1)]
    data = items[:limit]
    if "ending_before" in params:
        data.reverse()
    return listed(data, url, len(items) > limit)


def part(params: Params, items: list[Object]) -> Iterator[Object]:
    """What follows the cursor in a list that is complete already."""
    before, after = params.text("ending_before"), params.text("starting_after")
    ids = [item["id"] for item in items]
    cursor = before or after
    if cursor is None:
        return iter(items)
    if cursor not in ids:
        raise malformed(
            f"No such object: '{cursor}'", "ending_before" if before else "starting_after", "resource_missing"
        )
    place = ids.index(cursor)
    return iter(items[:place][::-1] if before else items[place + 1 :])
