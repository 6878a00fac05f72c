"""`python -m workers.billing <command>`: what an operator does about billing from a shell."""

import sys

from workers.billing.commands import main

sys.exit(main())
