"""The status page: what it shows, that it is rendered seldom, and what it says while Postgres is away."""

import gzip
import re
from datetime import timedelta

import peewee
import pytest

from edge import pages, status_page
from models.platform.clock import now
from models.status import snapshot
from models.status.incidents import Incident
from tests.support.crowd import crowd
from tests.support.status_page import add, ended, eventful, open_one

HTML = "text/html; charset=utf-8"


@pytest.fixture
def rendered(monkeypatch):
    """The names of the templates that were rendered since."""
    names, render = [], pages.render

    def counted(template, **values):
        names.append(template)
        return render(template, **values)

    monkeypatch.setattr(status_page, "render", counted)
    return names


@pytest.fixture
def away(monkeypatch):
    """away(): Postgres is not there any more."""

    def fail(*_, **__):
        raise peewee.OperationalError("the server is away")

    def stop():
        monkeypatch.setattr(snapshot, "_built", fail)
        monkeypatch.setattr("models.status.published.database.execute_sql", fail)

    return stop


def order(text, *parts):
    """Whether the text has these parts in this order."""
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def test_the_first_page_shows_what_is_wrong_before_everything_else(site):
    eventful()
    text = site.simulate_get("/status").text
    assert order(
        text,
        "<h1>Service disruption</h1>",
        "Open incidents",
        "Answers are slow",
        "Some take a minute.",
        "Maintenance</h2>",
        "Database upgrade",
        "Sign-in is not possible",
        "Services</h2>",
        "Agent chat",
        "The last 14 days",
        "Files were away 5 days ago",
        "Subscribe</h2>",
    )
    assert "100 days ago" not in text


def test_a_platform_without_incidents_and_data_says_so(site):
    text = site.simulate_get("/status").text
    assert "Open incidents" not in text and "No incidents in this time" in text
    assert "No other incidents" not in text
    assert text.count("Not measured") > 3 and "100% uptime" not in text


def test_below_an_open_incident_the_page_does_not_say_that_there_was_none(site):
    open_one()
    text = site.simulate_get("/status").text
    assert "Open incidents" in text and "No other incidents in this time" in text


def test_the_bars_are_told_to_those_who_do_not_see_them(site):
    eventful()
    text = site.simulate_get("/status").text
    labels = re.findall(r'role="img" aria-label="([^"]+)"', text)
    chat = next(label for label in labels if label.startswith("Agent chat, 90 days: "))
    bad = now().date() - timedelta(days=7)
    assert f"{bad.day} {bad:%b %Y}: incident, 97.91% uptime" in chat
    models = next(label for label in labels if label.startswith("Model provider"))
    assert "no data of 50 days" in models
    assert text.count("<rect") == text.count("<title>") - 1 + 5, "each bar has its tooltip; the legend has five bars"


def test_what_operators_write_is_text_and_nothing_else(site):
    row = eventful()
    for path in ("/status", f"/status/incidents/{row.slug}", "/status/history"):
        text = site.simulate_get(path).text
        assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "{{ 7 * 7 }}" in text


@pytest.mark.parametrize("path", ["/status", "/status/history", "/status/nowhere/x", "/status/incidents/x"])
def test_a_page_runs_nothing_and_loads_nothing(site, path):
    answer = site.simulate_get(path)
    if path == "/status/nowhere/x":
        assert answer.status_code == 404
        return
    policy = answer.headers["Content-Security-Policy"]
    assert policy == pages.POLICY and "unsafe" not in policy and "script-src" not in policy
    assert "frame-ancestors 'none'" in policy and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in answer.text and not re.search(r"<[^>]+ (style|on\w+)=", answer.text)
    text = answer.text.replace("http://www.w3.org/2000/svg", "")  # a namespace, never fetched
    assert not re.search(r"https?:|[\"'(]//\w", text)


def test_a_crowd_has_each_page_rendered_once(site, rendered):
    row = eventful()
    paths = ["/status", "/status/history", f"/status/incidents/{row.slug}"]
    for path in paths * 30:
        assert site.simulate_get(path).status_code == 200
    assert sorted(rendered) == ["history.html", "incident.html", "index.html"]


def test_a_new_snapshot_is_rendered_anew(site, rendered):
    row = open_one()
    assert "Investigating" in site.simulate_get("/status").text
    add(row, state="monitoring", text="It looks better.")
    snapshot.forget()
    snapshot.fast_redis_client().flushdb()
    assert "It looks better." in site.simulate_get("/status").text
    assert rendered == ["index.html"] * 2


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_unchanged_page_is_a_304_and_head_is_get_without_the_body(site, encoding):
    eventful()
    headers = {"Accept-Encoding": encoding}
    first = site.simulate_get("/status", headers=headers)
    body = gzip.decompress(first.content) if encoding == "gzip" else first.content
    assert b"Answers are slow" in body and first.headers["Content-Type"] == HTML
    assert re.fullmatch(r"public, max-age=\d+, stale-if-error=\d+", first.headers["Cache-Control"])
    again = site.simulate_get("/status", headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = site.simulate_head("/status", headers=headers)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", first.headers["ETag"])


def test_while_postgres_is_away_the_page_stays_and_says_its_age(site, away, monkeypatch):
    row = eventful()
    assert "minutes old" not in site.simulate_get("/status").text
    away()
    later = now() + timedelta(minutes=7)
    for module in (snapshot, status_page):
        monkeypatch.setattr(module, "now", lambda: later)
    snapshot.forget()  # as a process that has just started
    text = site.simulate_get("/status").text
    assert "This page is 7 minutes old" in text and "Answers are slow" in text
    assert site.simulate_get("/status/history").status_code == 200
    assert site.simulate_get(f"/status/incidents/{row.slug}").status_code == 200


def test_without_any_snapshot_the_page_says_that_it_cannot_be_made(site, away):
    away()
    answer = site.simulate_get("/status")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, HTML)
    assert answer.headers["Cache-Control"] == "no-store" and "away" not in answer.text


def test_the_page_of_an_incident_tells_its_story_the_newest_first(site):
    row = eventful()
    text = site.simulate_get(f"/status/incidents/{row.slug}").text
    assert order(text, "Identified</strong>", "has an outage", "Investigating</strong>", "We look.")


def test_the_page_of_an_old_incident_is_there_for_ever(site):
    row = ended(400)
    assert row.title in site.simulate_get(f"/status/incidents/{row.slug}").text


def test_a_draft_is_shown_nowhere(site):
    row = open_one(title="Nobody may know this", publish=False)
    for path in ("/status", "/status/history", f"/status/history?month={now():%Y-%m}", f"/status/incidents/{row.slug}"):
        assert "Nobody may know" not in site.simulate_get(path).text
    answer = site.simulate_get(f"/status/incidents/{row.slug}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, HTML)


@pytest.mark.parametrize("slug", ["x", "..%2F..%2Fetc", "%3Cscript%3E", "x" * 5000, "a%00b", "%ff"])
def test_an_unknown_incident_is_a_404(site, slug):
    assert site.simulate_get(f"/status/incidents/{slug}").status_code == 404


def test_the_history_goes_back_month_by_month(site):
    row, older = ended(100), ended(500)
    first = site.simulate_get("/status/history").text
    assert row.title not in first
    month = f"{row.starts_at:%Y-%m}"
    text = site.simulate_get("/status/history", params={"month": month}).text
    assert row.title in text and older.title not in text and 'rel="prev"' in text and 'rel="next"' in text
    last = site.simulate_get("/status/history", params={"month": f"{older.starts_at:%Y-%m}"}).text
    assert older.title in last and 'rel="prev"' not in last


def test_maintenance_that_has_not_begun_is_not_history(site):
    eventful()
    for month in (now(), now() + timedelta(days=2)):
        answer = site.simulate_get("/status/history", params={"month": f"{month:%Y-%m}"})
        assert "Database upgrade" not in answer.text


@pytest.mark.parametrize(
    "month", ["", "2026", "2026-13", "26-01", "2026-1", "1969-12", "9999-12", "x", "2026-01-01", "٢٠٢٦-01"]
)
def test_a_month_without_history_is_a_404(site, month):
    answer = site.simulate_get("/status/history", params={"month": month or "-"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, HTML)


def test_a_crowd_that_asks_for_one_month_asks_the_database_once(site, rendered):
    month = f"{ended(100).starts_at:%Y-%m}"
    answers = crowd(8, lambda _: site.simulate_get("/status/history", params={"month": month}).status_code)
    assert set(answers) == {200} and rendered == ["history.html"]


def test_a_month_that_was_read_does_not_wait_for_another_one(site):
    month, shown = f"{ended(100).starts_at:%Y-%m}", status_page.StatusPage()
    first = shown.history(month)
    shown._reading.acquire()  # somebody reads another month, from a database that takes its time
    [again] = crowd(1, lambda _: shown.history(month))
    assert again is first


def test_a_wrong_method_is_refused_as_everywhere(site):
    assert site.simulate_post("/status").status_code == 405
    assert Incident.select().count() == 0
