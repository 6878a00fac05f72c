"""What came of the last challenge or test of a webhook. Tokens are derived from SECRET_KEY, so no hash of one is stored."""

UP = """
alter table status_subscription add column error text, add column checked_at timestamptz;
drop index status_subscription_token;
alter table status_subscription drop column token_hash;
"""

DOWN = """
alter table status_subscription add column token_hash varchar(64);
create index status_subscription_token on status_subscription (token_hash) where token_hash is not null;
alter table status_subscription drop column checked_at, drop column error;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
