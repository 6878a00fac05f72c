"""Check the settings before anything starts."""

import argparse

from models.platform.settings import settings
from models.platform.startup_checks import PROCESSES, problems

HELP = "Print everything that a process would refuse to start with. Exit status 1 if there is anything."


def configure(parser: argparse.ArgumentParser) -> None:
    text = "check only what this process needs; may be repeated (default: all of them)"
    parser.add_argument("--process", action="append", choices=PROCESSES, help=text)


def run(args: argparse.Namespace) -> int:
    lines = problems(settings, args.process or PROCESSES)
    print("\n".join(lines) or f"The settings are safe for ENVIRONMENT={settings.environment}.")
    return int(bool(lines))
