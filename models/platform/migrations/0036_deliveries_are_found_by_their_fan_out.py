"""Deliveries of status alerts are counted by fan-out, and go with their update and their tenant: without looking at all of them."""

UP = """
create index status_delivery_fanout on status_delivery (fanout_id, state);
create index status_delivery_update on status_delivery (update_id);
create index status_delivery_tenant on status_delivery (tenant_id) where tenant_id is not null;
"""

DOWN = "drop index status_delivery_fanout, status_delivery_update, status_delivery_tenant"


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
