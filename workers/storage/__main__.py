"""`python -m workers.storage <command>`: what an operator does about stored objects from a shell."""

import sys

from workers.storage.commands import main

sys.exit(main())
