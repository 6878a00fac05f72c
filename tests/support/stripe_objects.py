"""Objects of Stripe as webhooks have them, with what our code reads. The shapes are those of stripe/_<name>.py."""

SEAT_PRICE, MESSAGES_PRICE = "price_pro_seat", "price_pro_messages"
PRICES = {SEAT_PRICE: ("pro", ""), MESSAGES_PRICE: ("pro", "messages"), "price_starter": ("starter", "")}
START, END = 1_767_225_600, 1_769_904_000  # January 2026


def item(price=SEAT_PRICE, quantity=5, **more):
    period = {"current_period_start": START, "current_period_end": END}
    price = {"id": price, "object": "price"} if isinstance(price, str) else price
    return (
        {"id": f"si_{price['id']}", "object": "subscription_item", "price": price, "quantity": quantity} | period | more
    )


def subscription(*items, **more):
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "start_date": START,
        "created": START,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": None,
        "items": {"object": "list", "data": list(items or [item()])},
        "metadata": {},
    } | more


def line(price=MESSAGES_PRICE, quantity=300, amount=600, **more):
    return {
        "id": "il_1",
        "object": "line_item",
        "amount": amount,
        "quantity": quantity,
        "period": {"start": START, "end": END},
        "pricing": {"type": "price_details", "price_details": {"price": price, "product": "prod_1"}},
        "parent": {"type": "subscription_item_details"},
        "metadata": {},
    } | more


def invoice(*lines, **more):
    return {
        "id": "in_1",
        "object": "invoice",
        "created": START,
        "customer": "cus_1",
        "status": "paid",
        "amount_due": 9900,
        "amount_paid": 9900,
        "total": 9900,
        "currency": "usd",
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "description": None,
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
        "invoice_pdf": "https://pay.stripe.com/1.pdf",
        "period_start": START,
        "period_end": END,
        "lines": {"object": "list", "data": list(lines)},
        "metadata": {},
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1", "metadata": {}}},
    } | more


def event(event_type, thing, event_id="evt_1", created=START):
    return {"id": event_id, "object": "event", "type": event_type, "created": created, "data": {"object": thing}}
