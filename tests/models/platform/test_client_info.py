"""Where a request comes from, as far as anybody may see it."""

import pytest

from models.platform import client_info
from models.platform.client_info import ClientInfo, describe_user_agent


@pytest.mark.parametrize(
    ("ip", "masked", "network"),
    [
        ("203.0.113.7", "203.0.113.*", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:0db8:0001:0002:*:*:*:*", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.*", "203.0.113.7"),
        ("rubbish", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_an_address_is_masked_and_counted_by_its_network(ip, masked, network):
    assert (ClientInfo(ip).masked, ClientInfo(ip).network) == (masked, network)


CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"


@pytest.mark.parametrize(
    ("agent", "platform", "browser", "device"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/120.0", "Windows", "Edge", "desktop"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36", "ChromeOS", "Chrome", "desktop"),
        (f"Mozilla/5.0 (Linux; Android 13; Pixel 7) {CHROME} Mobile Safari/537.36", "Android", "Chrome", "mobile"),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X700) {CHROME} Safari/537.36", "Android", "Chrome", "tablet"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.0 Safari/605.1.15",
            "macOS",
            "Safari",
            "desktop",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 Version/16.0 Mobile/15E148 Safari/604.1",
            "iPadOS",
            "Safari",
            "tablet",
        ),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", None, None, "bot"),
        ("curl/8.5.0", None, None, "desktop"),
        ("\u20ac nonsense ((((", None, None, "desktop"),
        (None, None, None, None),
    ],
)
def test_a_user_agent_is_told_in_the_words_of_the_contract(agent, platform, browser, device):
    assert describe_user_agent(agent) == {
        "platform": platform,
        "browser": browser,
        "device": device,
        "user_agent": agent,
    }


def test_a_location_comes_from_the_database_and_only_for_public_addresses(monkeypatch, configure):
    record = {
        "city": {"names": {"en": "Kiel"}},
        "subdivisions": [{"names": {"en": "Schleswig-Holstein"}}],
        "country": {"iso_code": "DE"},
    }
    asked = []

    class Reader:
        def get(self, address):
            asked.append(str(address))
            return record

    configure(geoip_database_path="/some/where.mmdb")
    monkeypatch.setattr(client_info, "_reader", lambda path: Reader())
    assert ClientInfo("8.8.8.8").location() == {"city": "Kiel", "region": "Schleswig-Holstein", "country": "DE"}
    assert ClientInfo("192.168.1.1").location() is None
    assert asked == ["8.8.8.8"]


def test_a_location_database_that_cannot_be_read_stops_nobody(configure):
    configure(geoip_database_path="/no/such.mmdb")
    assert ClientInfo("8.8.8.8").location() is None
