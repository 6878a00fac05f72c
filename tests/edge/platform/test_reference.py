"""/docs: our page, Scalar's script, and nothing from any other origin."""

import gzip
import re
import subprocess
import sys

import pytest

from edge.reference import CHUNK, bundle

SCRIPTS = ("reference.js", "scalar.js")


def without(headers, names):
    return {name: value for name, value in headers.items() if name not in names}


def get(http, path="", **headers):
    return http.simulate_get(f"/docs{path}", headers={"Host": "localhost", **headers})


def test_the_page_is_html_that_loads_only_our_scripts(http):
    page = get(http)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'<script src="([^"]+)"', page.text) == [f"/docs/{name}" for name in SCRIPTS]
    assert page.text.count("<script") == len(SCRIPTS), "an inline script would be refused by the policy"


@pytest.mark.parametrize("path", ["", "/reference.js"])
def test_our_files_name_no_other_origin(http, path):
    text = get(http, path).text.replace("http://www.w3.org/2000/svg", "")  # a namespace, never fetched
    assert not re.search(r"https?:|[\"'(]//\w", text)


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
def test_the_policy_allows_only_our_origin(http, path):
    policy = dict(part.split(" ", 1) for part in get(http, path).headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not [sources for sources in policy.values() if "http" in sources or "*" in sources or "eval" in sources]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_its_type_and_is_cached_by_its_etag(http, name):
    first = get(http, f"/{name}")
    assert first.headers["Content-Type"].startswith("text/javascript")
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    assert "Accept-Encoding" in first.headers["Vary"]
    assert int(first.headers["Content-Length"]) == len(first.content)
    etag = first.headers["ETag"]
    for if_none_match in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = get(http, f"/{name}", **{"If-None-Match": if_none_match})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
    assert get(http, f"/{name}", **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
def test_gzip_is_sent_only_where_accepted_and_has_its_own_etag(http, path):
    plain, compressed = get(http, path), get(http, path, **{"Accept-Encoding": "br, gzip;q=0.5"})
    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) == len(compressed.content)
    assert gzip.decompress(compressed.content) == plain.content
    assert compressed.headers["ETag"] != plain.headers["ETag"]
    assert "Content-Encoding" not in get(http, path, **{"Accept-Encoding": "gzip;q=0, br"}).headers


@pytest.mark.parametrize("path", ["", "/reference.js", "/scalar.js"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_is_get_without_the_body(http, path, encoding):
    headers = {"Host": "localhost", "Accept-Encoding": encoding}
    head, whole = http.simulate_head(f"/docs{path}", headers=headers), get(http, path, **headers)
    assert (head.status_code, head.content) == (200, b"")
    changing = {"x-correlation-id", "x-process-time"}
    assert without(head.headers, changing) == without(whole.headers, changing)


def test_the_bundle_is_complete_and_sent_in_chunks(app, http):
    import falcon.testing

    assert get(http, "/scalar.js").content == bundle().read_bytes()
    answer = app(falcon.testing.create_environ(path="/docs/scalar.js", headers={"Host": "localhost"}), lambda *_: None)
    assert all(len(piece) <= CHUNK for piece in answer)


@pytest.mark.parametrize("name", ["nothing.js", "reference.html", "redoc.js", "..%2Freference.py", "%2Fetc%2Fpasswd"])
def test_any_other_name_is_a_404(http, name):
    assert get(http, f"/{name}").status_code == 404


def test_the_package_is_located_without_importing_it():
    code = "import sys, edge.reference; edge.reference.Reference(); sys.exit('offapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_stops_the_start():
    with pytest.raises(RuntimeError, match="no_such_package"):
        bundle("no_such_package")
