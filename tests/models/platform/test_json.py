"""JSON and texts that Postgres stores, whatever a model or a tool has written."""

import json

import pytest

from models.platform.database import database
from models.platform.json import encode, encode_sorted, storable, storable_json, storable_text

TEXTS = {
    "a\0b": "a\ufffdb",
    "a\ud800b": "a\ufffdb",
    "\udc00": "\ufffd",
    "😀 ü": "😀 ü",
    "\\u0000": "\\u0000",
    "\\\\ud800": "\\\\ud800",
    "C:\\users\\data": "C:\\users\\data",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_postgres_cannot_store_is_replaced_and_nothing_else(text):
    assert storable_text(text) == json.loads(storable({"a": [text]}))["a"][0] == TEXTS[text]
    assert json.loads(storable_json(json.dumps(text))) == TEXTS[text]
    row = database.execute_sql("select %s::jsonb->>0, %s", (storable([text]), storable_text(text))).fetchone()
    assert row == (TEXTS[text], TEXTS[text])


def test_large_numbers_are_stored_and_equal_values_have_equal_digests():
    assert json.loads(storable({"n": 10**30})) == {"n": 10**30}
    assert encode_sorted({"b": 10**30, "a": 1}) == encode_sorted({"a": 1, "b": 10**30})
    assert encode_sorted({"b": 1, "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":1}'


def test_an_event_can_be_sent_whatever_is_in_it():
    assert json.loads(encode({"a": "x\ud800", "n": 10**30})) == {"a": "x?", "n": 10**30}
