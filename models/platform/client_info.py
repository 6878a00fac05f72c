"""Where a request comes from: its address and its client, as far as users and operators may see them."""

import ipaddress
import logging
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import maxminddb
from ua_parser import parse

from models.platform.digests import keyed_hex_digest
from models.platform.settings import settings

log = logging.getLogger(__name__)
AGENT_LENGTH = 512  # characters of a User-Agent that are kept
PLATFORMS = {"Mac OS X": "macOS", "Chrome OS": "ChromeOS", "Ubuntu": "Linux", "Debian": "Linux", "Fedora": "Linux"}
KNOWN_PLATFORMS = ("iOS", "Android", "Windows", "Linux", "macOS", "ChromeOS")
BROWSERS = {"Mobile Safari": "Safari", "IE": "Internet Explorer", "IE Mobile": "Internet Explorer"}
KNOWN_BROWSERS = ("Edge", "Brave", "Arc", "Opera", "Firefox", "Chrome", "Safari", "Internet Explorer")


@dataclass(frozen=True, slots=True)
class ClientInfo:
    ip: str | None = None
    user_agent: str | None = None

    @property
    def agent(self) -> str | None:
        return (self.user_agent or "")[:AGENT_LENGTH] or None

    @property
    def masked(self) -> str | None:
        """The address without what names the machine: IPv4 /24, IPv6 /64."""
        address = self._address()
        if address is None:
            return None
        if address.version == 4:
            return ".".join([*str(address).split(".")[:3], "*"])
        return ":".join([*address.exploded.split(":")[:4], "*", "*", "*", "*"])

    @property
    def networks(self) -> list[str]:
        """What failures are counted by: an IPv4 address and its /24; of IPv6 the /64 that one subscriber owns."""
        address = self._address()
        if address is None:
            return ["unknown"]
        wide = str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))
        return [str(address), wide] if address.version == 4 else [wide]

    @property
    def network(self) -> str:
        """What calls are counted by: the address, of IPv6 its /64."""
        return self.networks[0]

    @property
    def wide_network(self) -> str:
        """What crowds are counted by: the /24 of an IPv4 address, the /64 of an IPv6 one."""
        return _wide_network(self.ip)

    @property
    def fingerprint(self) -> str:
        """Equal for the same client at the same address; tells nothing of either."""
        return keyed_hex_digest("client", f"{self.ip}\n{self.user_agent}")

    def location(self) -> dict[str, str | None] | None:
        """{city, region, country} from the MaxMind database, if one is configured and knows the address."""
        address = self._address()
        if address is None or not address.is_global or not settings.geoip_database_path:
            return None
        try:
            record = _reader(settings.geoip_database_path).get(address)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            log.warning("geoip.unavailable", extra={"reason": repr(error)})
            return None
        return _place(record) if isinstance(record, dict) else None

    def _address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            address = ipaddress.ip_address(self.ip or "")
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            return address.ipv4_mapped  # ::ffff:a.b.c.d, as a dual-stack socket names IPv4
        return address


UNKNOWN_CLIENT = ClientInfo()


@lru_cache(4096)
def _wide_network(ip: str | None) -> str:
    return ClientInfo(ip).networks[-1]


@cache
def _reader(path: str) -> maxminddb.Reader:
    return maxminddb.open_database(path)


def _place(record: dict[str, Any]) -> dict[str, str | None]:
    regions = record.get("subdivisions") or [{}]
    return {
        "city": _name(record.get("city")),
        "region": _name(regions[0]),
        "country": (record.get("country") or {}).get("iso_code"),
    }


def _name(record: dict[str, Any] | None) -> str | None:
    return ((record or {}).get("names") or {}).get("en")


def describe_user_agent(user_agent: str | None) -> dict[str, str | None]:
    """{platform, browser, device, user_agent}: what a User-Agent says of its client, in the words of the contract."""
    if not user_agent:
        return {"platform": None, "browser": None, "device": None, "user_agent": None}
    parsed = parse(user_agent)
    system = parsed.os.family if parsed.os else ""
    family = parsed.user_agent.family if parsed.user_agent else ""
    model = (parsed.device.model or "") if parsed.device else ""
    brand = (parsed.device.brand or "") if parsed.device else ""
    platform = PLATFORMS.get(system, system)
    if platform == "iOS" and model.startswith("iPad"):
        platform = "iPadOS"
    browser = next((name for name in KNOWN_BROWSERS if name in BROWSERS.get(family, family)), None)
    return {
        "platform": platform if platform in (*KNOWN_PLATFORMS, "iPadOS") else None,
        "browser": browser,
        "device": _device(platform, brand, model, user_agent),
        "user_agent": user_agent,
    }


def _device(platform: str, brand: str, model: str, user_agent: str) -> str:
    if brand == "Spider":
        return "bot"
    if platform == "iPadOS" or "Tablet" in brand or "Tablet" in model:
        return "tablet"
    if platform == "iOS":
        return "mobile"
    if platform == "Android":
        return "mobile" if "Mobile" in user_agent else "tablet"  # Google's rule for Android browsers
    return "desktop"
