"""Further seats, prices of usage, and the former prices of a plan, on which subscriptions may still be."""

UP = """
alter table plan add extra_seat_cents integer check (extra_seat_cents >= 0); -- null: no further seats are sold
alter table plan_limit add included bigint check (included >= 0), -- costs nothing; null: no price for more
    add unit_cents numeric(24, 12) check (unit_cents >= 0); -- of one unit beyond that
alter table stripe_price add is_current boolean not null default true, -- false: nobody new gets it
    drop constraint stripe_price_pkey, drop constraint stripe_price_stripe_price_id_key, add primary key (stripe_price_id);
create unique index stripe_price_current on stripe_price (plan_code, feature) where is_current;
"""

DOWN = """
delete from stripe_price where not is_current;
drop index stripe_price_current;
alter table stripe_price drop constraint stripe_price_pkey, drop is_current, add primary key (plan_code, feature),
    add unique (stripe_price_id);
alter table plan_limit drop included, drop unit_cents;
alter table plan drop extra_seat_cents;
"""


def up(migrator, db):
    db.execute_sql(UP)


def down(migrator, db):
    db.execute_sql(DOWN)
