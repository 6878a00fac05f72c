"""Operators write incidents; nobody else does, and everybody reads what is published."""

from datetime import timedelta

import pytest

from models.jobs.ledger import Job
from models.platform.clock import iso, now
from models.status import snapshot
from models.status.incidents import Incident, Update
from tests.support.crowd import crowd

INCIDENTS = "/api/v1/status/incidents"
BODY = {"title": "Slow answers", "impact": "Answers take long.", "services": {"api": None}, "text": "We look."}
HOUR = timedelta(hours=1)


@pytest.fixture
def operator(signed):
    return signed(operator=True)[0]


@pytest.fixture
def send(http, operator):
    def call(method, path="", body=None, **headers):
        return http.simulate_request(method, INCIDENTS + path, json=body, headers={**operator, **headers})

    return call


@pytest.fixture
def made(send):
    """made(...) -> the answer for a new incident."""
    return lambda **values: send("POST", body=BODY | values).json


def anonymous(http, path):
    return http.simulate_get(INCIDENTS + path, headers={"Host": "localhost"})


def told():
    """Updates whose subscribers a job will tell."""
    return [job.args["update_id"] for job in Job.select().where(Job.name == "status.fan_out").order_by(Job.id)]


@pytest.mark.parametrize("role", ["viewer", "member", "admin", "owner"])
def test_nobody_else_may_write(http, signed, made, role):
    slug = made()["incident_id"]
    headers, _ = signed(role)
    calls = [
        ("GET", "", None),
        ("POST", "", BODY),
        ("PATCH", f"/{slug}", {"title": "x"}),
        ("DELETE", f"/{slug}", None),
        ("POST", f"/{slug}/updates", {"text": "x"}),
        ("POST", f"/{slug}/publish", {}),
    ]
    for method, path, body in calls:
        answer = http.simulate_request(method, INCIDENTS + path, json=body, headers=headers)
        assert (answer.status_code, answer.json["error"]) == (403, "insufficient_scope")
        assert http.simulate_request(method, INCIDENTS + path, json=body).status_code == 401
    assert (Incident.select().count(), Update.select().count()) == (1, 1)


def test_the_life_of_an_incident(http, send, made):
    first = made(severity="minor")
    slug = first["incident_id"]
    assert (first["state"], first["services"], first["version"]) == ("investigating", {"api": "degraded"}, 1)
    second = send("POST", f"/{slug}/updates", {"text": "A disk.", "state": "identified", "severity": "critical"})
    assert (second.status_code, second.headers["ETag"]) == (201, '"2"')
    quiet = send("POST", f"/{slug}/updates", {"text": "Still.", "notify": False})
    assert quiet.json["state"] == "identified"
    last = send("POST", f"/{slug}/updates", {"text": "Done.", "state": "resolved"}).json
    assert (last["state"], last["ended_at"] is not None) == ("resolved", True)
    assert [update["text"] for update in last["updates"]] == ["Done.", "Still.", "A disk.", "We look."]
    again = send("POST", f"/{slug}/updates", {"text": "More."})
    assert (again.status_code, again.json["error"]) == (409, "incident_ended")
    newest = [update["id"] for update in reversed(last["updates"]) if update["text"] != "Still."]
    assert told() == newest
    shown = anonymous(http, f"/{slug}").json
    assert shown["updates"] == last["updates"]
    assert shown["probe"] is None


def test_a_draft_is_for_operators_until_it_is_published(http, signed, send, made):
    slug = made(draft=True)["incident_id"]
    member, _ = signed("owner")
    assert anonymous(http, f"/{slug}").status_code == 404
    assert http.simulate_get(f"{INCIDENTS}/{slug}", headers=member).status_code == 404
    assert send("GET", f"/{slug}").json["published_at"] is None
    assert told() == []
    published = send("POST", f"/{slug}/publish", {})
    assert (published.status_code, published.json["published_at"] is not None) == (200, True)
    assert told() == [published.json["updates"][0]["id"]]
    assert anonymous(http, f"/{slug}").status_code == 200
    assert send("POST", f"/{slug}/publish", {}).json["error"] == "incident_published"
    assert send("DELETE", f"/{slug}").json["error"] == "incident_published"


def test_a_draft_can_be_discarded(send, made):
    slug = made(draft=True)["incident_id"]
    assert send("DELETE", f"/{slug}", None, **{"If-Match": '"7"'}).status_code == 412
    assert send("DELETE", f"/{slug}").status_code == 204
    assert send("DELETE", f"/{slug}").status_code == 404


def test_a_bad_token_is_refused_where_anybody_may_read(http, made):
    slug = made()["incident_id"]
    answer = http.simulate_get(f"{INCIDENTS}/{slug}", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401


def test_a_copy_that_is_still_good_is_not_sent_again(http, made):
    slug = made()["incident_id"]
    first = anonymous(http, f"/{slug}")
    assert "Authorization" in first.headers["Vary"]
    headers = {"Host": "localhost", "If-None-Match": first.headers["ETag"]}
    assert http.simulate_get(f"{INCIDENTS}/{slug}", headers=headers).status_code == 304


def test_an_old_incident_is_read_from_the_database(http, made, send):
    slug = made()["incident_id"]
    send("POST", f"/{slug}/updates", {"text": "Done.", "state": "resolved"})
    Incident.update(ended_at=now() - 3000 * HOUR).where(Incident.slug == slug).execute()
    snapshot.forget()
    assert anonymous(http, f"/{slug}").json["incident_id"] == slug


def test_maintenance_is_planned_and_moved(send, made):
    times = {"starts_at": iso(now() + HOUR), "until": iso(now() + 2 * HOUR)}
    plan = made(kind="maintenance", **times)
    assert (plan["state"], plan["severity"], plan["services"]) == ("scheduled", "maintenance", {"api": "maintenance"})
    moved = send("PATCH", f"/{plan['incident_id']}", {"until": iso(now() + 4 * HOUR)})
    assert moved.json["until"] > plan["until"]
    assert told() == [plan["updates"][0]["id"]]


def test_nobody_overwrites_what_they_have_not_seen(send, made):
    slug = made()["incident_id"]
    outcomes = crowd(8, lambda number: send("PATCH", f"/{slug}", {"title": f"Title {number}"}, **{"If-Match": '"1"'}))
    assert sorted(answer.status_code for answer in outcomes) == [200] + [412] * 7
    late = send("POST", f"/{slug}/updates", {"text": "Late."}, **{"If-Match": '"1"'})
    assert (late.status_code, late.json["error"]) == (412, "incident_changed")
    assert send("POST", f"/{slug}/updates", {"text": "Now."}, **{"If-Match": '"2"'}).status_code == 201


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        ({"title": ""}, 422, "validation_error"),
        ({"title": " \u0000 "}, 422, "validation_error"),
        ({"title": "x" * 201}, 422, "validation_error"),
        ({"text": "x" * 5001}, 422, "validation_error"),
        ({"severity": "huge"}, 422, "validation_error"),
        ({"services": {}}, 422, "validation_error"),
        ({"services": {"api": "broken"}}, 422, "validation_error"),
        ({"services": {"cellar": None}}, 400, "unknown_service"),
        ({"services": {"api": "maintenance"}}, 400, "incident_invalid"),
        ({"state": "resolved"}, 400, "incident_invalid"),
        ({"starts_at": "2100-01-01T00:00:00Z"}, 400, "incident_invalid"),
        ({"starts_at": "2100-01-01T00:00:00"}, 422, "validation_error"),
        ({"until": "2100-01-01T00:00:00Z"}, 400, "incident_invalid"),
        ({"kind": "maintenance"}, 400, "incident_invalid"),
        ({"published": True}, 422, "validation_error"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_kept(send, values, status, code):
    answer = send("POST", body=BODY | values)
    assert (answer.status_code, answer.json["error"]) == (status, code)
    assert (Incident.select().count(), told()) == (0, [])


def test_the_list_is_narrowed_and_paged(send, made):
    made(title="Open")
    ended = made(title="Ended")["incident_id"]
    send("POST", f"/{ended}/updates", {"text": "Done.", "state": "resolved"})
    made(title="Draft", draft=True)
    made(title="Plan", kind="maintenance", until=iso(now() + HOUR))

    def titles(**params):
        query = "&".join(f"{name}={value}" for name, value in params.items())
        return [each["title"] for each in send("GET", f"?{query}").json["items"]]

    assert titles() == ["Plan", "Draft", "Ended", "Open"]
    assert titles(draft="true") == ["Draft"]
    assert titles(open="false") == ["Ended"]
    assert titles(kind="maintenance") == ["Plan"]
    assert titles(draft="false", open="true", kind="incident") == ["Open"]
    first = send("GET", "?limit=3").json
    rest = send("GET", f"?limit=3&cursor={first['next_cursor']}").json
    assert ([each["title"] for each in rest["items"]], rest["next_cursor"]) == (["Open"], None)
    assert send("GET", "?cursor=nonsense").json["error"] == "invalid_cursor"
