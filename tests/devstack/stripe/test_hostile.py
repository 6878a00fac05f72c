"""No request is answered with a fault of the stand-in, whatever it contains."""

import itertools

import pytest
from falcon import testing

from devstack.stripe import server
from devstack.stripe.routes import OPERATIONS

SHAPES = {
    "text": "{0}=nonsense",
    "empty": "{0}=",
    "number": "{0}=9",
    "negative": "{0}=-1",
    "huge": "{0}=99999999999999999999999",
    "mapping": "{0}[a]=b",
    "deep": "{0}[a][b][c][d]=e",
    "list": "{0}[0]=x&{0}[1]=y",
    "holes": "{0}[7][price]=x&{0}[][price]=y",
    "both": "{0}=x&{0}[a]=b",
    "broken": "{0}[=x&{0}]=y&{0}%FF=z",
}


@pytest.fixture(scope="module")
def send(tmp_path_factory):
    """send(method, path, body) -> (status, JSON), in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STANDIN_URL", "http://standin")
        patch.setenv("STANDIN_KEY", "sk_test_x")
        patch.delenv("STANDIN_WEBHOOK_URL", raising=False)
        patch.setattr(server.gevent, "spawn", lambda *_: None)
        patch.setattr(server.util, "http_date", None)
        client = testing.TestClient(server.create_app(str(tmp_path_factory.mktemp("hostile"))))

        def run(method, path, body=""):
            headers = {"Authorization": "Bearer sk_test_x", "Content-Type": "application/x-www-form-urlencoded"}
            form = {"query_string": body} if method != "POST" else {"body": body}
            answer = client.simulate_request(method, path, headers=headers, **form)
            return answer.status_code, answer.json

        yield run


@pytest.fixture(scope="module")
def known(send):
    """An object of each kind, for the ids in paths."""

    def make(path, body):
        status, answer = send("POST", f"/v1/{path}", body)
        assert status == 200, answer
        return answer["id"]

    customer = make("customers", "payment_method=pm_card_visa&invoice_settings[default_payment_method]=pm_card_visa")
    product = make("products", "name=Pro")
    price = make("prices", f"product={product}&currency=usd&unit_amount=9900&recurring[interval]=month")
    coupon = make("coupons", "percent_off=10")
    subscription = make("subscriptions", f"customer={customer}&items[0][price]={price}")
    invoice = send("GET", f"/v1/subscriptions/{subscription}")[1]["latest_invoice"]
    session = f"mode=subscription&line_items[0][price]={price}&success_url=http://x/"
    return {
        "customers": customer,
        "products": product,
        "prices": price,
        "coupons": coupon,
        "promotion_codes": make("promotion_codes", f"promotion[type]=coupon&promotion[coupon]={coupon}"),
        "subscriptions": subscription,
        "invoices": invoice,
        "payment_intents": send("GET", "/v1/payment_intents")[1]["data"][0]["id"],
        "payment_methods": send("GET", f"/v1/customers/{customer}/payment_methods")[1]["data"][0]["id"],
        "billing/meters": make("billing/meters", "event_name=t&display_name=T&default_aggregation[formula]=sum"),
        "checkout/sessions": make("checkout/sessions", session),
        "billing_portal/configurations": make(
            "billing_portal/configurations", "features[invoice_history][enabled]=true"
        ),
        "webhook_endpoints": make("webhook_endpoints", "url=http://127.0.0.1:9/&enabled_events[0]=a.b"),
        "test_helpers/test_clocks": make("test_helpers/test_clocks", "frozen_time=1800000000"),
    }


def path_of(operation, known):
    family = operation.path.removeprefix("/v1/").partition("/{")[0]
    return operation.path.replace("{a}", known.get(family, "none")).replace("{b}", "none")


CHANGING = [operation for operation in OPERATIONS if operation.method != "DELETE"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_may_have_any_shape(send, known, shape):
    wrong = []
    for operation in CHANGING:
        for field in sorted(operation.fields):
            status, answer = send(operation.method, path_of(operation, known), SHAPES[shape].format(field))
            if status >= 500 or (status >= 400 and not answer["error"]["message"]):
                wrong.append((operation.method, operation.path, field, status))
    assert not wrong, wrong


def test_what_is_needed_with_anything_else_of_any_shape(send, known):
    """The same beside what makes a request valid, so that it gets further."""
    price, customer = known["prices"], known["customers"]
    needs = {
        "/v1/subscriptions": f"customer={customer}&items[0][price]={price}",
        "/v1/prices": f"product={known['products']}&currency=usd&unit_amount=1&recurring[interval]=month",
        "/v1/checkout/sessions": f"mode=subscription&line_items[0][price]={price}&success_url=http://x/",
        "/v1/invoices/create_preview": f"subscription={known['subscriptions']}",
        "/v1/billing_portal/sessions": f"customer={customer}",
        "/v1/billing/meter_events": f"event_name=t&payload[stripe_customer_id]={customer}&payload[value]=1",
        "/v1/billing/meters/{a}/event_summaries": f"customer={customer}&start_time=0&end_time=60",
        "/v1/coupons": "percent_off=5",
    }
    wrong = []
    for operation, shape in itertools.product(OPERATIONS, SHAPES):
        need = needs.get(operation.path)
        for field in sorted(operation.fields) if need and operation.method != "DELETE" else ():
            body = f"{need}&{SHAPES[shape].format(field)}"
            status, answer = send(operation.method, path_of(operation, known), body)
            if status >= 500:
                wrong.append((operation.path, body, status, answer))
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("path", ["customers", "prices", "events", "invoices", "subscriptions"])
@pytest.mark.parametrize(
    "cursor", ["starting_after=none", "ending_before=none", "limit=0", "limit=101", "limit=x", "created[gt]=x"]
)
def test_wrong_cursors_are_refused(send, path, cursor):
    status, answer = send("GET", f"/v1/{path}", cursor)
    assert status in (400, 404) and answer["error"]["type"] == "invalid_request_error"
