"""Statements that are sent together, and statements that are prepared."""

import pytest
from peewee import IntegrityError

from models.auth.tenants import Plan
from models.platform.database import database, release, transaction

ADD = "insert into plan (code, name, trial_days) values (%(code)s, %(name)s, 0)"


@pytest.fixture(autouse=True)
def plans(clean):
    yield
    release()
    Plan.delete().where(Plan.code.startswith("t-")).execute()


def codes():
    return [row.code for row in Plan.select().where(Plan.code.startswith("t-")).order_by(Plan.code)]


def test_a_deferred_statement_has_run_before_the_next_one_and_after_the_commit():
    with transaction():
        database.execute_later(ADD, {"code": "t-1", "name": "one; 100 % 'quoted'"})
        assert codes() == ["t-1"]
        database.execute_later(ADD, {"code": "t-2", "name": "two"})
    assert codes() == ["t-1", "t-2"]
    assert Plan.by_code("t-1").name == "one; 100 % 'quoted'"


def test_outside_a_transaction_a_statement_is_not_deferred():
    database.execute_later(ADD, {"code": "t-1", "name": "one"})
    assert codes() == ["t-1"]


@pytest.mark.parametrize("touch", [lambda: None, lambda: database.execute_sql("select 1")])
def test_a_failed_transaction_leaves_nothing_and_the_connection_usable(touch):
    with pytest.raises(RuntimeError), transaction():
        touch()
        database.execute_later(ADD, {"code": "t-1", "name": "one"})
        raise RuntimeError
    assert not database.in_transaction()
    assert codes() == []


def test_a_deferred_statement_that_fails_at_the_commit_undoes_the_transaction():
    with pytest.raises(IntegrityError), transaction():
        database.execute_later(ADD, {"code": "t-1", "name": "one"})
        database.execute_later(ADD, {"code": "t-1", "name": "the same"})
    assert codes() == []
    with transaction():
        pass
    assert codes() == []


def test_a_savepoint_undoes_only_its_own_part():
    with transaction():
        database.execute_later(ADD, {"code": "t-1", "name": "one"})
        with pytest.raises(IntegrityError), transaction():
            database.execute_later(ADD, {"code": "t-1", "name": "the same"})
        database.execute_later(ADD, {"code": "t-2", "name": "two"})
    assert codes() == ["t-1", "t-2"]


def test_a_fixed_statement_is_prepared_once_per_connection_even_if_the_transaction_fails():
    for text in ("a", "it's %(text)s; b"):
        with pytest.raises(RuntimeError), transaction():
            assert database.execute_prepared(
                "select %(text)s::text, %(text)s::text || '!'", {"text": text}
            ).fetchone() == (
                text,
                text + "!",
            )
            raise RuntimeError
    assert sum("select $1::text, $1::text || '!'" in row[0] for row in prepared()) == 1


def prepared():
    return database.execute_sql("select statement from pg_prepared_statements").fetchall()
