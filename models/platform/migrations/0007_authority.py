"""Service tokens name the user who issued them: a token ends with the rights of its issuer."""

UP = """
alter table service_token add issuer_id uuid references users on delete cascade;
update service_token set issuer_id = users.id from users where issued_by = 'user:' || users.id;
create index service_token_issuer on service_token (issuer_id) where revoked_at is null;
"""

DOWN = "alter table service_token drop issuer_id"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
