"""The status page in a real browser: for people with disabilities, on small screens, in the dark, and without JavaScript."""

from urllib.parse import urlsplit

import pytest

from models.status.subscriptions import ACTIVE, PENDING, REVOKED, StatusSubscription
from tests.edge.status.test_subscription_pages import confirming, ending
from tests.support import browser as browsers
from tests.support.status import subscribe
from tests.support.status_page import ended, eventful

# How bright the page is: the red, green and blue of its background together
BACK = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0)"


@pytest.fixture(scope="module")
def browser():
    with browsers.browsing() as found:
        yield found


@pytest.fixture
def address(app, site):
    with browsers.serving(app) as url:
        yield url


@pytest.fixture
def visit(browser, address):
    """visit(path, ...) -> the page, in a fresh browser. Whatever it complains of fails the test."""
    contexts, complaints = [], []

    def go(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(address + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def link(path, params):
    return f"/status/{path}?subscription_id={params['subscription_id']}&token={params['token']}"


@pytest.fixture
def paths(site):
    row = eventful()
    pending = subscribe("jo@example.com", status=PENDING)
    return ["/status", "/status/history", f"/status/incidents/{row.slug}", link("unsubscribe", ending(pending))]


def test_people_with_disabilities_can_use_every_page_also_in_the_dark_and_on_a_small_screen(visit, paths):
    for path in paths:
        page = visit(path)
        found = browsers.violations(page)
        light = page.evaluate(BACK)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 320, "height": 800})
        assert (path, found + browsers.violations(page)) == (path, [])
        assert page.evaluate("document.documentElement.scrollWidth") == 320, f"{path} scrolls sideways"
        assert page.evaluate(BACK) < light / 3, f"{path} is not dark"


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit, site):
    page = visit("/status")
    page.keyboard.press("Tab")
    first = page.locator(":focus")
    assert first.inner_text() == "Skip to the content" and first.bounding_box()["x"] >= 0
    assert first.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert urlsplit(page.url).fragment == "main"
    page.focus("#email")
    page.keyboard.type("jo@example.com")
    for key in ("Tab", "ArrowUp", "Tab", "Enter", "Tab", "Space"):  # severity; services; the first of them
        page.keyboard.press(key)
    page.focus("button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/status/subscribe")
    assert page.locator("h1").inner_text() == "Check your mail"
    row = StatusSubscription.get()
    assert (row.severity_filter, row.components) == ("all", ["api"])


def test_links_of_mails_work_without_javascript(visit, site):
    row = subscribe("jo@example.com", status=PENDING)
    for path, params, status in (("confirm", confirming(row), ACTIVE), ("unsubscribe", ending(row), REVOKED)):
        page = visit(link(path, params), java_script_enabled=False)
        page.click("button", timeout=10_000)
        page.wait_for_selector(".banner.good")
        assert StatusSubscription.get_by_id(row.id).status == status


def test_an_incident_is_a_click_away(visit, site):
    row = ended(3)
    page = visit("/status")
    page.click(f"text={row.title}")
    page.wait_for_url(f"**/status/incidents/{row.slug}")
    assert page.locator("h1").inner_text() == row.title
