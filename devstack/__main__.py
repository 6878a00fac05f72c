"""`python -m devstack`: what ./dev runs."""

from devstack.cli import app

app(prog_name="./dev")
