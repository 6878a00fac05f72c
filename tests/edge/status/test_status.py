"""The status as everybody reads it: JSON, feeds, and the shape of Statuspage; from memory, with validators."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree as ET

import peewee
import pytest

from models.platform.clock import now
from models.platform.database import transaction
from models.status import incident_changes as changes
from models.status import snapshot
from tests.support.crowd import crowd

HOUR = timedelta(hours=1)
ATOM = {"a": "http://www.w3.org/2005/Atom"}
FEEDS = ("/api/v1/status/rss", "/api/v1/status.rss", "/api/v1/status/atom")
V2 = (
    "summary",
    "status",
    "components",
    "incidents",
    "incidents/unresolved",
    "scheduled-maintenances",
    "scheduled-maintenances/upcoming",
    "scheduled-maintenances/active",
)
EVERYTHING = ("/api/v1/status", *FEEDS, *(f"/api/v2/{name}.json" for name in V2))
HOSTILE = "</title><script>alert(1)</script> & ]]> \U0001f600 \u2028"
pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(autouse=True)
def configured(configure):
    configure(status_page_url="https://status.example.com/status", status_cache_seconds=10)


def opened(**values):
    given = {"title": "Slow answers", "impact": "Answers take long.", "services": {"api": None}, "text": "We look."}
    with transaction():
        return changes.open_incident("operator:jo", **(given | values))[0]


def ended(incident, state="resolved"):
    with transaction():
        changes.add_update("operator:jo", incident.id, state=state, text="Done.")
    return incident


@pytest.fixture
def story():
    """A past incident, an open one, and maintenance that is ahead and one that goes on."""
    ended(opened(title="Past", services={"mail": None}, starts_at=now() - 30 * HOUR))
    maintenance = {"kind": "maintenance", "services": {"storage": None}, "until": now() + 5 * HOUR}
    opened(title="Ahead", starts_at=now() + HOUR, **maintenance)
    opened(title="Going on", **maintenance)
    return opened(severity="critical", services={"api": None, "chat": "degraded"})


@pytest.fixture
def get(http):
    return lambda path, **headers: http.simulate_get(path, headers={"Host": "localhost", **headers})


def test_the_status_says_how_everything_is(get, story):
    answer = get("/api/v1/status").json
    assert answer["overview"]["state"] == "Major outage"
    assert answer["overview"]["description"] == "Something does not work. Affected: API."
    by_key = {service["key"]: service for service in answer["services"]}
    assert [by_key[key]["status"] for key in ("api", "chat", "storage")] == ["incident", "degraded", "maintenance"]
    assert len(by_key["api"]["days"]) == 90
    first = answer["incidents"][0]
    assert first["incident_id"] == story.slug
    assert (first["service"], first["state"], first["impact"]) == (
        "API, Agent chat",
        "investigating",
        "Answers take long.",
    )
    assert [each["title"] for each in answer["incidents"]] == ["Slow answers", "Past"]
    assert {each["title"] for each in answer["maintenances"]} == {"Ahead", "Going on"}
    assert answer["generated_at"].endswith("Z")


@pytest.mark.parametrize("path", EVERYTHING)
def test_everything_has_validators_and_may_be_cached(get, story, path):
    first = get(path)
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "public, max-age=10, stale-if-error=86400"
    tag, time = first.headers["ETag"], first.headers["Last-Modified"]
    for headers in ({"If-None-Match": tag}, {"If-None-Match": f'"x", {tag}'}, {"If-Modified-Since": time}):
        answer = get(path, **headers)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
    assert get(path, **{"If-None-Match": '"x"', "If-Modified-Since": time}).status_code == 200
    assert get(path, **{"If-Modified-Since": "nonsense"}).status_code == 200


@pytest.mark.parametrize("path", EVERYTHING)
def test_head_is_get_without_a_body(http, story, path):
    answer = http.simulate_head(path, headers={"Host": "localhost"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] != "0"


@pytest.mark.parametrize("path", [path for path in EVERYTHING if path != "/api/v1/status"])
def test_what_has_not_changed_stays_the_same_to_the_byte(get, story, path):
    first = get(path)
    snapshot.forget()
    snapshot.fast_redis_client().delete(snapshot.KEY)
    first_built = get(path)
    snapshot.forget()
    assert get(path).content == first_built.content
    assert first.headers["Content-Type"] == first_built.headers["Content-Type"]


def test_both_addresses_of_the_rss_feed_answer_the_same(get, story):
    one, other = get(FEEDS[0]), get(FEEDS[1])
    assert one.content == other.content
    assert one.headers["Content-Type"] == other.headers["Content-Type"] == "application/rss+xml; charset=utf-8"


def test_the_rss_feed(get, story):
    root = ET.fromstring(get(FEEDS[0]).content)
    channel = root.find("channel")
    assert (root.tag, root.get("version")) == ("rss", "2.0")
    assert channel.findtext("title").endswith("Platform Status")
    assert channel.findtext("link") == "https://status.example.com/status"
    own = channel.find("a:link", ATOM)
    assert (own.get("rel"), own.get("href")) == ("self", "https://status.example.com/api/v1/status/rss")
    assert channel.findtext("lastBuildDate") == channel.findtext("pubDate")
    assert parsedate_to_datetime(channel.findtext("pubDate")).utcoffset() == timedelta(0)
    items = channel.findall("item")
    assert [item.findtext("title").split(": ")[1] for item in items] == [
        "Slow answers (investigating)",
        "Going on (in progress)",
        "Ahead (scheduled)",
        "Past (resolved)",
    ]
    first = items[0]
    assert (first.findtext("guid"), first.find("guid").get("isPermaLink")) == (story.slug, "false")
    assert first.findtext("link") == f"https://status.example.com/status/incidents/{story.slug}"
    assert "Answers take long." in first.findtext("description") and "We look." in first.findtext("description")
    assert [each.text for each in first.findall("category")] == ["investigating", "critical"]


@pytest.mark.parametrize("path", FEEDS)
def test_a_feed_names_no_service_twice(get, path):
    opened(title="API is not available")
    assert b"<title>API is not available (investigating)</title>" in get(path).content


def test_the_atom_feed(get, story):
    root = ET.fromstring(get("/api/v1/status/atom").content)
    links = {link.get("rel"): link.get("href") for link in root.findall("a:link", ATOM)}
    assert links["self"] == "https://status.example.com/api/v1/status/atom"
    assert root.findtext("a:author/a:name", namespaces=ATOM)
    entry = root.find("a:entry", ATOM)
    assert entry.findtext("a:id", namespaces=ATOM) == f"urn:uuid:{story.id}"
    for element in (root.find("a:updated", ATOM), entry.find("a:updated", ATOM), entry.find("a:published", ATOM)):
        assert datetime.fromisoformat(element.text).tzinfo is not None


@pytest.mark.parametrize("path", EVERYTHING)
def test_hostile_texts_stay_texts(get, path):
    opened(title=HOSTILE, impact=HOSTILE, text=HOSTILE)
    answer = get(path)
    if path in FEEDS:
        assert any(HOSTILE.strip() in (element.text or "") for element in ET.fromstring(answer.content).iter())
    else:
        assert answer.json


def test_feeds_change_when_an_incident_does(get, story):
    before = get(FEEDS[0])
    ended(story)
    snapshot.forget()
    snapshot.fast_redis_client().delete(snapshot.KEY)
    after = get(FEEDS[0], **{"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    first = ET.fromstring(after.content).find("channel/item")
    assert first.findtext("title").endswith("(resolved)")
    assert first.findtext("guid") == story.slug


def test_the_shape_of_statuspage(get, story):
    summary = get("/api/v2/summary.json")
    assert summary.headers["Access-Control-Allow-Origin"] == "*"
    assert summary.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    answer = summary.json
    assert answer["status"] == {"indicator": "critical", "description": "Major outage"}
    states = {each["id"]: each["status"] for each in answer["components"]}
    assert [states[key] for key in ("api", "chat", "storage", "mail")] == [
        "major_outage",
        "degraded_performance",
        "under_maintenance",
        "operational",
    ]
    assert [each["id"] for each in answer["incidents"]] == [story.slug]
    update = answer["incidents"][0]["incident_updates"][0]
    assert (update["status"], update["body"], update["incident_id"]) == ("investigating", "We look.", story.slug)
    names = {
        name: [each["name"] for each in get(f"/api/v2/{name}.json").json[name.split("/")[0].replace("-", "_")]]
        for name in V2[3:]
    }
    assert names == {
        "incidents": ["Slow answers", "Past"],
        "incidents/unresolved": ["Slow answers"],
        "scheduled-maintenances": ["Ahead", "Going on"],
        "scheduled-maintenances/upcoming": ["Ahead"],
        "scheduled-maintenances/active": ["Going on"],
    }


def test_without_troubles_the_indicator_is_none(get):
    assert get("/api/v2/status.json").json["status"]["indicator"] == "none"


def test_a_crowd_costs_postgres_one_snapshot(get, story, monkeypatch):
    built, build = [], snapshot.build
    monkeypatch.setattr(snapshot, "build", lambda last: built.append(1) or build(last))
    answers = crowd(40, lambda number: get(EVERYTHING[number % 4]).status_code)
    assert (answers, built) == ([200] * 40, [1])


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/status/rss", "/api/v2/summary.json"])
def test_while_postgres_is_away_the_last_status_is_answered(get, story, path, monkeypatch):
    before = get(path).content
    away(monkeypatch)
    snapshot.forget()
    assert get(path).content == before


def test_without_any_status_the_answer_is_503(get, monkeypatch):
    away(monkeypatch)
    answer = get("/api/v1/status")
    assert (answer.status_code, answer.json["error"]) == (503, "status_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def away(monkeypatch):
    def fail(_):
        raise peewee.OperationalError("the server is away")

    monkeypatch.setattr(snapshot, "_built", fail)
