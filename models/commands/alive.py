"""The health check of a container that serves no HTTP."""

import argparse

import redis

from models.commands import CommandFailed
from models.jobs import presence

HELP = "Exit status 0 if a worker or scheduler on this host has shown within seconds that it works, otherwise 1."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("process", choices=["worker", "scheduler"])


def run(args: argparse.Namespace) -> int:
    try:
        return int(not presence.is_alive_here(args.process))
    except redis.RedisError as error:
        raise CommandFailed(f"Redis does not answer: {type(error).__name__}") from None
