"""`python -m workers.contact <command>`: what an operator does with messages of the contact form from a shell."""

import sys

from workers.contact.commands import main

sys.exit(main())
