"""Start the FastAPI peer on the stack's Postgres, Redis, signing keys and model."""

import json
from dataclasses import dataclass

from devstack.bench.launch import launch
from devstack.bench.peers.environment import PeerUnavailable, python
from devstack.process import Process, free_port, responds, wait_for
from devstack.stack import Stack

APP = "devstack.bench.peers.web.app:app"


@dataclass(frozen=True)
class Peer:
    url: str
    process: Process


def start(stack: Stack, agents: list[dict[str, str]]) -> Peer:
    """Start one uvicorn process, as our edge is one process. Raises PeerUnavailable if it cannot be installed or started.

    `agents` is the answer to GET /api/v1/agents. In both services it is configuration and needs no database.
    """
    interpreter, port = python(), free_port()
    serve = f"-m uvicorn {APP} --port {port} --loop uvloop --http httptools --no-access-log --log-level warning"
    command = f'ulimit -n "$(ulimit -Hn)"; exec "{interpreter}" {serve} --backlog 4096 --timeout-keep-alive 30'
    process = launch(stack, "peer", command, stack.env | {"PEER_AGENTS": json.dumps(agents)})
    peer = Peer(f"http://127.0.0.1:{port}", process)
    try:
        wait_for(lambda: responds(f"{peer.url}/health"), process, "the FastAPI peer")
    except SystemExit as error:
        raise PeerUnavailable(str(error)) from None
    return peer
