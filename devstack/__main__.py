"""`python -m devstack`: what ./dev runs."""

import os

from devstack.cli import app

os.environ.setdefault("ENVIRONMENT", "development")  # everywhere else the default is production
app(prog_name="./dev")
