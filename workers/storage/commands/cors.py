"""Which web pages may upload and download."""

import argparse

from models.storage.buckets import Bucket
from workers.gateways import storage

HELP = "Let the pages of ALLOWED_ORIGINS, and no others, use all buckets. Run it when that setting has changed."


def configure(parser: argparse.ArgumentParser) -> None:
    """It has no options."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Exit status 1 if the storage has no such setting for a bucket: then it has one for all, which its operator sets."""
    del args
    buckets = [bucket.name for bucket in Bucket.select().where(Bucket.made_at.is_null(False))]
    told = [storage.allow_origins(name) for name in buckets]
    print(f"{sum(told)} of {len(buckets)} buckets know the origins.")
    return int(not all(told))
