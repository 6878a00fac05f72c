"""/docs: a page of ours, a program of Scalar's, and nothing from elsewhere."""

import gzip
import re
import subprocess
import sys

import pytest

from edge.reference import CHUNK, bundle

SCRIPTS = ("reference.js", "scalar.js")


def get(http, path="", **headers):
    return http.simulate_get(f"/docs{path}", headers={"Host": "localhost", **headers})


def test_the_page_is_html_that_loads_only_our_scripts(http):
    page = get(http)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'<script src="([^"]+)"', page.text) == [f"/docs/{name}" for name in SCRIPTS]
    assert page.text.count("<script") == len(SCRIPTS), "an inline script would be refused by the policy"


@pytest.mark.parametrize("path", ["", "/reference.js"])
def test_what_we_wrote_names_no_other_origin(http, path):
    text = get(http, path).text.replace("http://www.w3.org/2000/svg", "")  # a namespace, never fetched
    assert not re.search(r"https?:|[\"'(]//\w", text)


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
def test_the_policy_holds_the_page_to_our_origin(http, path):
    policy = dict(part.split(" ", 1) for part in get(http, path).headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not [sources for sources in policy.values() if "http" in sources or "*" in sources or "eval" in sources]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_typed_cached_and_not_sent_twice(http, name):
    first = get(http, f"/{name}")
    assert first.headers["Content-Type"].startswith("text/javascript")
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    assert "Accept-Encoding" in first.headers["Vary"]
    assert int(first.headers["Content-Length"]) == len(first.content)
    for known in (first.headers["ETag"], f'"other", {first.headers["ETag"]}', f"W/{first.headers['ETag']}", "*"):
        again = get(http, f"/{name}", **{"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
    assert get(http, f"/{name}", **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
def test_gzip_is_for_those_who_take_it_and_has_a_tag_of_its_own(http, path):
    plain, packed = get(http, path), get(http, path, **{"Accept-Encoding": "br, gzip;q=0.5"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.content)
    assert gzip.decompress(packed.content) == plain.content
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Content-Encoding" not in get(http, path, **{"Accept-Encoding": "gzip;q=0, br"}).headers


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_is_get_without_the_body(http, path, encoding):
    headers = {"Host": "localhost", "Accept-Encoding": encoding}
    head, whole = http.simulate_head(f"/docs{path}", headers=headers), get(http, path, **headers)
    assert (head.status_code, head.content) == (200, b"")
    changing = {"x-correlation-id", "x-process-time"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in whole.headers.items() if k not in changing
    }


def test_the_bundle_is_sent_whole_and_in_pieces(app, http):
    import falcon.testing

    assert get(http, "/scalar.js").content == bundle().read_bytes()
    answer = app(falcon.testing.create_environ(path="/docs/scalar.js", headers={"Host": "localhost"}), lambda *_: None)
    assert all(len(piece) <= CHUNK for piece in answer)


@pytest.mark.parametrize("name", ["nothing.js", "reference.html", "redoc.js", "..%2Freference.py", "%2Fetc%2Fpasswd"])
def test_any_other_name_is_not_found(http, name):
    assert get(http, f"/{name}").status_code == 404


def test_the_package_is_found_and_not_imported():
    code = "import sys, edge.reference; edge.reference.Reference(); sys.exit('offapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_stops_the_start(monkeypatch):
    monkeypatch.setattr("edge.reference.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="offapi"):
        bundle()
