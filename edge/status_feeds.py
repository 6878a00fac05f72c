"""The status as RSS 2.0 and Atom feeds. They change only when the status does, so that readers see nothing new otherwise."""

from email.utils import format_datetime
from typing import Any, TypeAlias, cast

from lxml.etree import Element, SubElement, tostring

from edge.rendered import Rendered
from edge.status_documents import url_of
from models.platform.clock import iso
from models.platform.settings import settings
from models.status.snapshot import IncidentView, Snapshot
from models.status.texts import FORBIDDEN
from models.status.tokens import page

ATOM = "http://www.w3.org/2005/Atom"
RSS_TYPE, ATOM_TYPE = "application/rss+xml; charset=utf-8", "application/atom+xml; charset=utf-8"
MOST = 50  # items
Node: TypeAlias = Any  # an element; lxml has no types


def rss(snapshot: Snapshot) -> Rendered:
    root = Element("rss", nsmap={"atom": ATOM}, version="2.0")
    channel = SubElement(root, "channel")
    time = format_datetime(snapshot.changed_at)
    _add(channel, "title", _title())
    _add(channel, "link", page())
    _add(channel, "description", snapshot.overview.description)
    _add(channel, "language", "en")
    _add(channel, "lastBuildDate", time)
    _add(channel, "pubDate", time)
    SubElement(channel, f"{{{ATOM}}}link", href=_own_url("rss"), rel="self", type="application/rss+xml")
    for each in _items(snapshot):
        item = SubElement(channel, "item")
        _add(item, "title", _headline(each))
        _add(item, "link", url_of(each))
        _add(item, "guid", each.slug, isPermaLink="false")
        _add(item, "pubDate", format_datetime(each.starts_at if not each.is_maintenance else each.published_at))
        _add(item, "description", _story(each))
        for category in (each.state, each.severity):
            _add(item, "category", category)
    return Rendered(_written(root), RSS_TYPE, snapshot.changed_at)


def atom(snapshot: Snapshot) -> Rendered:
    root = Element(f"{{{ATOM}}}feed", nsmap={None: ATOM})
    _atom(root, "id", page())
    _atom(root, "title", _title())
    _atom(root, "subtitle", snapshot.overview.description)
    _atom(root, "updated", iso(snapshot.changed_at))
    _atom(SubElement(root, f"{{{ATOM}}}author"), "name", settings.app_name)
    SubElement(root, f"{{{ATOM}}}link", href=page(), rel="alternate", type="text/html")
    SubElement(root, f"{{{ATOM}}}link", href=_own_url("atom"), rel="self", type="application/atom+xml")
    for each in _items(snapshot):
        entry = SubElement(root, f"{{{ATOM}}}entry")
        _atom(entry, "id", f"urn:uuid:{each.id}")
        _atom(entry, "title", _headline(each))
        SubElement(entry, f"{{{ATOM}}}link", href=url_of(each), rel="alternate", type="text/html")
        _atom(entry, "published", iso(each.published_at))
        _atom(entry, "updated", iso(each.updated_at))
        for category in (each.state, each.severity):
            SubElement(entry, f"{{{ATOM}}}category", term=category)
        _atom(entry, "summary", each.impact)
        _atom(entry, "content", _story(each), type="text")
    return Rendered(_written(root), ATOM_TYPE, snapshot.changed_at)


def _items(snapshot: Snapshot) -> list[IncidentView]:
    both = [*snapshot.incidents, *snapshot.maintenances]
    return sorted(both, key=lambda each: (each.published_at, each.id), reverse=True)[:MOST]


def _title() -> str:
    return f"{settings.app_name} Platform Status"


def _own_url(name: str) -> str:
    """Where the feed is. The page and the API are at the same address, as far as strangers see them."""
    return f"{page().removesuffix('/status')}/api/v1/status/{name}"


def _headline(view: IncidentView) -> str:
    """A title that names the services already, as those of probes do, does not name them twice."""
    title = view.title if view.service in view.title else f"{view.service}: {view.title}"
    return f"{title} ({view.state.replace('_', ' ')})"


def _story(view: IncidentView) -> str:
    """The impact, and the updates, the newest first."""
    updates = [f"{iso(each.created_at)[:16]}Z {each.state.replace('_', ' ')}: {each.text}" for each in view.updates]
    return "\n\n".join([view.impact, *updates])


def _atom(parent: Node, name: str, text: str, **attributes: str) -> None:
    _add(parent, f"{{{ATOM}}}{name}", text, **attributes)


def _add(parent: Node, name: str, text: str, **attributes: str) -> None:
    SubElement(parent, name, attributes).text = FORBIDDEN.sub("", text)


def _written(root: Node) -> bytes:
    return cast(bytes, tostring(root, encoding="utf-8", xml_declaration=True))
