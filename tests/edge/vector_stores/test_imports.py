"""What an edge loads of the provider."""

import subprocess
import sys


def test_an_edge_does_not_load_the_providers_library_before_it_is_searched():
    code = "import sys, edge.app, edge.routes; print([name for name in ('openai', 'httpx2') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == "[]"
