"""`python -m devstack.check NAME`: run one gate in this process and print its problems as one line of JSON for run.py."""

import json
import sys
from pathlib import Path

from devstack.check.gates import GATES

if __name__ == "__main__":
    gate = next(gate for gate in GATES if gate.name == sys.argv[1])
    print("\n" + json.dumps(gate.find(Path.cwd())))
