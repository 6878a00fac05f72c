"""Filters mean the same in every form, and bad ones are refused with the place of the mistake."""

import pytest

from models.vector_stores import filters, ranking
from models.vector_stores.filters import DEEPEST, MOST, InvalidFilters
from models.vector_stores.ranking import InvalidRanking, Ranking
from models.vector_stores.search import search
from tests.support.chunks import add_file, make_store, vector

FILES = {
    "a": {"year": 2020, "kind": "memo", "open": True},
    "b": {"year": 2021.5, "kind": "report", "open": False},
    "c": {"year": "2021", "kind": "Report"},
    "d": {},
}


def is_(kind, key, value):
    return {"type": kind, "key": key, "value": value}


def all_of(*parts):
    return {"type": "and", "filters": list(parts)}


def any_of(*parts):
    return {"type": "or", "filters": list(parts)}


CASES = [
    (None, "abcd"),
    ({}, "abcd"),
    (is_("eq", "year", 2020), "a"),
    (is_("eq", "year", 2020.0), "a"),
    (is_("eq", "year", "2021"), "c"),
    (is_("eq", "open", True), "a"),
    (is_("eq", "open", 1), ""),
    (is_("ne", "year", 2020), "bcd"),
    (is_("ne", "open", True), "bcd"),
    (is_("gt", "year", 2020), "b"),
    (is_("gte", "year", 2020), "ab"),
    (is_("lt", "year", 2021.5), "a"),
    (is_("lte", "year", 10**30), "ab"),
    (is_("gt", "year", "2020"), "c"),
    (is_("gt", "kind", "memo"), "b"),
    (is_("in", "kind", ["memo", "Report", 7]), "ac"),
    (is_("nin", "kind", ["memo", "Report"]), "bd"),
    (is_("in", "open", [False]), "b"),
    (is_("eq", "' or true --", "%s"), ""),
    (is_("eq", "kind", "{table} %(x)s ' \\"), ""),
    (all_of(is_("gte", "year", 2020), is_("eq", "open", False)), "b"),
    (any_of(is_("eq", "kind", "memo"), is_("eq", "year", "2021")), "ac"),
    (any_of(all_of(is_("eq", "open", True), is_("ne", "kind", "memo")), is_("lt", "year", 2030)), "ab"),
    (all_of(any_of(is_("gt", "year", 0), is_("gt", "missing", 0))), "ab"),
]


def test_filters_select_files_by_their_attributes(tenant):
    store = make_store(tenant)
    for name, attributes in FILES.items():
        add_file(store, [name], name, attributes=attributes)
    for given, expected in CASES:
        hits = search(store, vector=vector("x"), text="", filters=given)
        assert "".join(sorted(hit.text for hit in hits)) == expected, given


def nested(depth):
    return is_("eq", "a", 1) if depth == 1 else all_of(nested(depth - 1))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "filters must be an object"),
        ("x", "filters must be an object"),
        ({"type": "and"}, "filters.filters must be a list"),
        (all_of(), "one filter or more"),
        (all_of(is_("eq", "a", 1), {"type": "eq"}), r"filters.filters\[1\].key must be a text"),
        (is_("like", "a", 1), "filters.type must be one of eq, ne"),
        (is_(["eq"], "a", 1), "filters.type must be one of eq, ne"),
        ({"type": "equals"}, "filters.type must be one of eq, ne"),
        ({"key": "a", "value": 1}, "filters.type must be one of eq, ne"),
        (is_("eq", "", 1), "key must be a text"),
        (is_("eq", "k" * 65, 1), "key must be a text of 1 to 64"),
        (is_("eq", "a\x00", 1), "key must be a text"),
        (is_("eq", "a", None), "value must be a text, a number, true or false"),
        (is_("eq", "a", float("nan")), "value must be"),
        (is_("eq", "a", 10**400), "value must be"),
        (is_("eq", "a", "\x00"), "without NUL"),
        (is_("eq", "a", "\ud800"), "not valid Unicode"),
        (is_("eq", "\udfff", 1), "not valid Unicode"),
        (is_("eq", "a", "x" * 513), "at most 512 characters"),
        (is_("eq", "a", [1]), "value must be"),
        (is_("gt", "a", True), "have no order"),
        (is_("in", "a", "x"), "list of 1 to 100"),
        (is_("in", "a", []), "list of 1 to 100"),
        (is_("in", "a", [0] * 101), "list of 1 to 100"),
        (is_("nin", "a", [1, None]), r"value\[1\] must be"),
        (is_("eq", "a", 1) | {"x": 1}, "unknown member: x"),
        (nested(DEEPEST + 1), f"nested {DEEPEST} levels"),
        (nested(900), f"nested {DEEPEST} levels"),
        (all_of(*[is_("eq", "a", 1)] * MOST), f"{MOST} filters at most"),
    ],
)
def test_bad_filters_are_refused(given, reason):
    with pytest.raises(InvalidFilters, match=reason):
        filters.parse(given)


def test_a_filter_compares_chunks_with_so_many_values_at_most():
    one = is_("in", "a", list(range(100)))
    assert filters.parse(any_of(*[one] * 5)) is not None
    with pytest.raises(InvalidFilters, match="500 values"):
        filters.parse(any_of(*[one] * 5, is_("nin", "b", [1])))


def test_filters_may_be_as_deep_and_many_as_is_said():
    assert filters.parse(nested(DEEPEST))
    assert filters.parse(all_of(*[is_("eq", "a", 1)] * (MOST - 1)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Ranking()),
        ({}, Ranking()),
        ({"ranker": "auto", "score_threshold": 0.5}, Ranking(0.5)),
        ({"ranker": "default-2024-11-15", "score_threshold": 1}, Ranking(1.0)),
        ({"ranker": "none"}, Ranking(0.0, 1.0, 0.0)),
        ({"hybrid_search": {"embedding_weight": 0, "text_weight": 0.3}}, Ranking(0.0, 0.0, 0.3)),
        ({"ranker": None, "score_threshold": None, "hybrid_search": None}, Ranking()),
    ],
)
def test_ranking_options_are_read(given, expected):
    assert ranking.parse(given) == expected


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "must be an object"),
        ({"ranker": "best"}, "must be one of auto"),
        ({"ranker": ["auto"]}, "must be one of auto"),
        ({"score_threshold": 1.1}, "from 0 to 1"),
        ({"score_threshold": -0.1}, "from 0 to 1"),
        ({"score_threshold": True}, "must be a number"),
        ({"score_threshold": float("nan")}, "must be a number"),
        ({"score_threshold": "0.5"}, "must be a number"),
        ({"hybrid_search": {}}, "embedding_weight must be a number"),
        ({"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}, "greater than zero"),
        ({"hybrid_search": {"embedding_weight": 1, "text_weight": -1}}, "from 0"),
        ({"hybrid_search": []}, "must be an object"),
        ({"ranker": "none", "hybrid_search": {"embedding_weight": 1, "text_weight": 1}}, "no effect"),
        ({"rank": 1}, "unknown member: rank"),
    ],
)
def test_bad_ranking_options_are_refused(given, reason):
    with pytest.raises(InvalidRanking, match=reason):
        ranking.parse(given)


def test_scores_fall_with_each_rank():
    order = Ranking(embedding_weight=2)
    assert order.fuse(0, 0) == pytest.approx(1)
    scores = [order.fuse(rank, rank) for rank in range(200)]
    assert scores == sorted(scores, reverse=True)
    assert order.fuse(0, None) > order.fuse(None, 0) > order.fuse(None, 10**6) > 0
