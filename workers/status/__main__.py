"""`python -m workers.status <command>`: what an operator does about the status from a shell."""

import sys

from workers.status.commands import main

sys.exit(main())
