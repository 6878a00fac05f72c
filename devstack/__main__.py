"""`python -m devstack`, which is what ./dev runs."""

from devstack.cli import app

app(prog_name="./dev")
