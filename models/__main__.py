"""`python -m models <command>`: what an operator does from a shell."""

import sys

from models.commands import main

sys.exit(main())
