"""A second edge on the same stack, which looks at the limits of plans before a chat begins."""

from devstack.process import free_port, responds, wait_for
from devstack.stack import Stack


def start_guarded(stack: Stack) -> str:
    """Start it. Returns its URL."""
    port = free_port()
    process = stack.spawn("edge", PORT=str(port), ENABLE_USAGE_GUARDRAILS="true", ENABLE_BILLING="false")
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: responds(f"{url}/health/ready"), process, "the edge with guardrails")
    return url
