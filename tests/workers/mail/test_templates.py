"""Every mail: its templates fit each other, hostile values stay text, and nothing is loaded from elsewhere."""

import email
import email.policy
import re

import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.support.browser import browsing, violations
from tests.support.mails import html, plain
from workers.mail.build import TEMPLATES, build, rendered
from workers.mail.kinds import KINDS
from workers.mail.samples import SAMPLES, UNSUBSCRIBE_URL

LINK = re.compile(r"https?://\S+")
HOSTILE = '"><script>alert(1)</script><a href="https://evil.example">x</a>\r\nBcc: eve@example.com'
WIDEST = 78


def values(name, **more):
    return SAMPLES[name] | ({"unsubscribe_url": UNSUBSCRIBE_URL} if name.startswith("status_") else {}) | more


def links(html):
    return {node.attributes["href"] for node in LexborHTMLParser(html).css("a")}


def test_every_mail_has_both_templates_and_sample_values():
    names = {path.stem for path in TEMPLATES.glob("*.html")} - {"layout"}
    assert set(KINDS) == set(SAMPLES) == names == {path.stem for path in TEMPLATES.glob("*.txt")}


@pytest.mark.parametrize("name", KINDS)
def test_both_forms_have_the_same_links_and_codes(name):
    subject, text, html = rendered(name, values(name))
    assert subject and "\n" not in subject
    assert links(html) == set(LINK.findall(text)) - {SAMPLES["status_disabled"]["target"]}
    for code in re.findall(r"\b[0-9a-f]{32}\.[0-9a-f]{64}\b", text):
        assert code in LexborHTMLParser(html).body.text()


@pytest.mark.parametrize("name", KINDS)
def test_the_words_of_the_plain_text_are_those_of_the_html(name):
    """A rough comparison: sentences may be split by buttons, so nine of ten long words must be there."""
    _, text, html = rendered(name, values(name))
    shown = LexborHTMLParser(html).body.text().lower()
    words = set(re.findall(r"[a-z]{5,}", LINK.sub("", text).lower()))
    assert len([word for word in words if word not in shown]) <= len(words) / 4


@pytest.mark.parametrize("name", KINDS)
def test_lines_of_the_plain_text_are_short(name):
    _, text, _ = rendered(name, values(name))
    assert not [line for line in text.splitlines() if len(line) > WIDEST and " " in line]


@pytest.mark.parametrize("name", KINDS)
def test_hostile_values_stay_text(name):
    given = {key: HOSTILE if isinstance(value, str) and key != "kind" else value for key, value in values(name).items()}
    given |= {"services": [HOSTILE]} if "services" in given else {}
    subject, _, html = rendered(name, given)
    tree = LexborHTMLParser(html)
    assert not tree.css("script") and "\n" not in subject and "\r" not in subject
    assert not [link for link in links(html) if link.startswith("https://evil")]
    message = build(
        "jo@example.com", name, "m1", {key: value for key, value in given.items() if key != "unsubscribe_url"}
    )
    assert message["Bcc"] is None and len(message.get_all("Subject")) == 1


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_loaded_and_styles_are_inlined(name):
    _, _, html = rendered(name, values(name))
    tree = LexborHTMLParser(html)
    assert (
        not tree.css("img, script, link, iframe, form, [background]") and "url(" not in html and "@import" not in html
    )
    [style] = tree.css("style")
    assert style.text().strip().startswith("@media (prefers-color-scheme: dark)")
    assert all(node.attributes.get("style") for node in tree.css("p, h1, a, table, td"))
    assert tree.css_first("html").attributes["lang"] == "en" and tree.css_first("title").text()
    assert len(html) < 100_000, "mail programs cut off what is longer"


@pytest.mark.parametrize("topic", ["Sales", "Größe 東京 " * 20, "x" * 5000])
def test_a_mail_is_made_of_lines_that_every_server_takes(topic):
    given = values("contact") | {"topic": topic, "message": f"{topic}\n.\nFrom here on", "name": topic}
    message = build("jo@example.com", "contact", "m1", given, unsubscribe_url=UNSUBSCRIBE_URL)
    raw = message.as_bytes()
    assert raw.isascii() and max(map(len, raw.splitlines())) <= 998
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read["List-Unsubscribe"] == f"<{UNSUBSCRIBE_URL}>"
    assert read["Subject"] == f"[Contact] {topic.strip()}"[:200].strip()
    assert topic.strip() in html(read) and f"{' '.join(topic.split())} . From here on" in " ".join(plain(read).split())


def test_a_subject_is_one_line_that_is_not_too_long():
    subject, _, _ = rendered("contact", values("contact", topic="x\u2028y\x00\x07z " + "long " * 100))
    assert subject.startswith("[Contact] x y z long") and len(subject) <= 200


def test_people_with_disabilities_can_read_mails_in_light_and_dark():
    with browsing() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme, viewport={"width": 320, "height": 600}).new_page()
            for name in ("contact", "reset_password", "status_incident"):
                page.set_content(rendered(name, values(name))[2])
                assert violations(page) == [], (name, scheme)
                assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
