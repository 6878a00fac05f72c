"""The first search of docs/vector_stores.md, word for word, on real processes."""

import json
import subprocess
from pathlib import Path

PAGE = Path("docs/vector_stores.md").read_text()


def test_the_first_search_finds_what_was_uploaded(live, tmp_path):
    section = PAGE.split("## First search")[1]
    script = section.split("```sh\n")[1].split("```")[0]
    assert script.count("http://localhost:8000") == 1
    script = "set -eu\n" + script.replace("http://localhost:8000", live.url)
    done = subprocess.run(
        ["bash"], input=script, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    attached, found, filtered = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert attached["status"] == "completed", attached
    (hit,) = found["data"]["data"]
    assert hit["filename"] == "cats.md" and hit["content"][0]["text"].startswith("Cats purr")
    assert filtered["data"]["data"] == []
    run = live.run(attached["run_id"])
    assert (run["kind"], run["state"]) == ("indexing", "succeeded") and run["usage"]["embedding_tokens"] > 0
