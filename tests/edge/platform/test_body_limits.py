"""The limits of JSON bodies: what is within them is read exactly as the standard library reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge.bodies import MAX_DEPTH, MAX_DIGITS, BodyLimits, parse_json
from edge.errors import Invalid
from edge.validation import storable, unstorable

ROOMY = BodyLimits(10**9, 1, 10_000)
NARROW = BodyLimits(10**9, 1, 20)
nasty = st.text(alphabet=st.sampled_from('[]{},:"\\\\ax\\0\\ud800é'), max_size=12) | st.text(max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**90), 10**90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | nasty,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(nasty, inner, max_size=5),
    max_leaves=40,
)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])
quick = hypothesis_settings(max_examples=300, deadline=None, derandomize=True, database=None)


def elements(value):
    if not isinstance(value, list | dict):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return max(1, len(value)) + sum(map(elements, items))


def depth(value):
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@quick
@given(values, st.booleans(), encodings)
def test_a_body_within_the_limits_is_read_as_the_standard_library_reads_it(value, ascii_only, encoding):
    raw = json.dumps(value, ensure_ascii=ascii_only).encode(encoding, "surrogatepass")
    assert parse_json(raw, ROOMY) == json.loads(raw)


@quick
@given(values)
def test_elements_are_counted_without_parsing(value):
    raw = json.dumps(value).encode()
    if elements(value) <= NARROW.elements:
        assert parse_json(raw, NARROW) == value
    else:
        with pytest.raises(Invalid, match="failed"):
            parse_json(raw, NARROW)


@quick
@given(st.text(alphabet='[]{},:"\\\\ 1e', max_size=30))
def test_what_is_no_json_is_refused_as_the_standard_library_refuses_it(text):
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  (any of the parser's)
            parse_json(text.encode(), ROOMY)
    else:
        assert parse_json(text.encode(), ROOMY) == expected


@quick
@given(values)
def test_the_path_leads_to_what_cannot_be_stored(value):
    path = unstorable(value)
    if path is None:
        assert storable(json.dumps(value, ensure_ascii=False).replace("\\\\u0000", "\\0"))
        return
    for step in path:
        value = value[step]
    assert unstorable(value) == []


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_the_depth_is_limited(opened, closed):
    nested = opened * (MAX_DEPTH - 1) + "[]" + closed * (MAX_DEPTH - 1)
    assert depth(parse_json(nested.encode(), ROOMY)) == MAX_DEPTH
    with pytest.raises(Invalid) as refusal:
        parse_json(f"[{nested}]".encode(), ROOMY)
    assert refusal.value.details[0].type == "recursion"


def test_siblings_are_not_depth():
    assert parse_json(b"[" + b"[[]]," * 100 + b"[]]", ROOMY)


def test_the_digits_of_an_integer_are_limited():
    assert parse_json(b"9" * MAX_DIGITS, ROOMY)
    with pytest.raises(ValueError, match="digits"):
        parse_json(b"9" * (MAX_DIGITS + 1), ROOMY)
