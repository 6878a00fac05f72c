"""`python -m workers.vector_stores <command>`: what an operator does about vector stores from a shell."""

import sys

from workers.vector_stores.commands import main

sys.exit(main())
