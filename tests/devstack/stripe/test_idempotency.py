"""Idempotency keys, by Stripe's rules."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import stripe

from devstack.parts.stripe import KEY
from tests.devstack.stripe.conftest import connect


def post(part, path, key, data=None, **headers):
    headers |= {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
    return httpx.post(f"{part.url}/v1/{path}", data=data or {}, headers=headers, timeout=30)


def count(api, kind):
    return len(list(getattr(api, kind).list({"limit": 100}).auto_paging_iter()))


def test_the_same_key_gives_the_first_answer_again(part, api):
    before = count(api, "customers")
    first, again = (post(part, "customers", "same", {"email": "a@example.com"}) for _ in range(2))
    assert first.json() == again.json() and count(api, "customers") == before + 1
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert again.headers["Idempotency-Key"] == "same"


def test_other_parameters_or_another_path_with_a_used_key_are_refused(api):
    options = {"idempotency_key": "used"}
    api.customers.create({"email": "a@example.com"}, options)
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as error:
        api.customers.create({"email": "b@example.com"}, options)
    assert error.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        api.products.create({"name": "a"}, options)


def test_a_refusal_of_the_execution_is_kept_and_one_before_it_is_not(part, api, plan, customer):
    declined = {
        "customer": customer("chargeCustomerFail").id,
        "items[0][price]": plan.seat,
        "payment_behavior": "error_if_incomplete",
    }
    first, again = (post(part, "subscriptions", "declined", declined) for _ in range(2))
    assert first.status_code == again.status_code == 402 and first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"

    assert post(part, "customers", "wrong", {"nonsense": "1"}).status_code == 400
    assert post(part, "customers", "wrong", {"email": "c@example.com"}).status_code == 200


def test_a_hundred_calls_at_once_with_one_key_make_one_object(part, api):
    before = count(api, "customers")
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: post(part, "customers", "crowd", {"email": "d@example.com"}), range(100)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 200}) == 1
    assert count(api, "customers") == before + 1


def test_a_key_in_use_is_a_409_that_the_sdk_tries_again(part):
    fault = {"Standin-Fault": "slow=2"}
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(post, part, "customers", "slow", {"email": "e@example.com"}, **fault) for _ in range(2)]
    done, refused = sorted((each.result() for each in both), key=lambda answer: answer.status_code)
    assert (done.status_code, refused.status_code) == (200, 409)
    assert refused.json()["error"]["code"] == "idempotency_key_in_use"
    assert refused.headers["Stripe-Should-Retry"] == "true"


def test_keys_are_forgotten_after_a_day(part, control):
    first = post(part, "customers", "old", {"email": "f@example.com"}).json()["id"]
    control("advance", span="23 hours")
    assert post(part, "customers", "old", {"email": "f@example.com"}).json()["id"] == first
    control("advance", span="2 hours")
    assert post(part, "customers", "old", {"email": "g@example.com"}).json()["id"] != first


def test_a_lost_answer_was_executed_once(part, api):
    client = connect(part, max_network_retries=3)
    before = count(api, "customers")
    lost = httpx.post(
        f"{part.url}/_standin/fault", json={"operation": "POST /v1/customers", "kind": "lost", "times": 2}
    )
    assert lost.status_code == 200
    assert client.customers.create({"email": "h@example.com"}).email == "h@example.com"
    assert count(api, "customers") == before + 1
