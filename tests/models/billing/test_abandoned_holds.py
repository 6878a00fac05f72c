"""What work had reserved that is not a run, and that ended without a word."""

from datetime import timedelta

import pytest

from models.billing import quotas
from models.billing.quotas import HELD_SECONDS, Guard
from models.billing.usage_limits import UsageLimitExceeded
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.runs import progress
from tests.support.jobs import do
from workers.billing import usage
from workers.jobs import USAGE_FOLD, enqueue


def begin(tenant):
    guard = Guard(tenant.id, uuid7(), {"searches": 1, "embedding_tokens": 0}, is_run=False)
    guard.begin(guard.reserve)


def fold():
    with transaction():
        enqueue(USAGE_FOLD)
    do({"usage.fold": usage.fold_usage})
    progress.writer.send([]).wait()


def test_a_search_whose_process_died_does_not_count_for_ever(tenant, limited):
    # given
    limited("searches", hard=1)
    begin(tenant)
    # when it may still be at work
    fold()
    # then
    with pytest.raises(UsageLimitExceeded):
        begin(tenant)
    # when it has died
    database.execute_sql("update usage_hold set created_at = created_at - %s", (timedelta(seconds=HELD_SECONDS),))
    fold()
    # then
    begin(tenant)
    assert quotas.free_abandoned() == 0
