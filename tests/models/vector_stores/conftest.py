import pytest


@pytest.fixture(autouse=True)
def own_tables(clean):
    """Stores' own tables do not outlive a test."""
    from models.platform.database import database

    yield
    rows = database.execute_sql("select tablename from pg_tables where schemaname = 'vector_chunks'").fetchall()
    for (name,) in rows:
        database.execute_sql(f"drop table vector_chunks.{name}")


@pytest.fixture(params=["small", "large"])
def sized(request, monkeypatch):
    """Every store is of this size, as soon as it has a file: tests.support.chunks."""
    from models.vector_stores import indexes

    monkeypatch.setattr(indexes, "LARGE", 10**9 if request.param == "small" else 1)
    monkeypatch.setattr("models.vector_stores.search.FEW", 0)
    return request.param
