"""The first upload of docs/storage.md, word for word, against real processes."""

import os
import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"


def test_the_first_upload_of_the_page(live, tmp_path):
    [script] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script = script.replace("localhost:8000", live.url.removeprefix("http://"))
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"status":"ready"' in done.stdout and '"items":[{' in done.stdout
    assert "hello.txt" in done.stdout
    assert {path.read_text() for path in tmp_path.iterdir()} == {"Hello, storage."}
