"""What an edge, or a scheduler, with billing loads."""

import subprocess
import sys


def test_neither_edge_nor_scheduler_loads_the_library_of_stripe():
    """It costs tens of megabytes in each process, and only workers talk to Stripe."""
    code = "import sys, edge.app, edge.routes, edge.resources.billing.webhook, scheduler.main; print('stripe' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == "False"
