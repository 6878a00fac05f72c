"""Command-line options that several commands of ./dev share."""

import typer

from devstack.instance import DEFAULT_STATE

STATE = typer.Option(
    DEFAULT_STATE, "--state", help="State folder of the local instance.", show_default="var, next to ./dev"
)
JSON = typer.Option(False, "--json", help="Print JSON.")
