"""`python -m workers.mail <command>`: what an operator does about mail from a shell."""

import sys

from workers.mail.commands import main

sys.exit(main())
