"""Images: the hosted image tool, which makes small PNGs that depend on the prompt, and what the demo model sees in others."""

import base64
import binascii
import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any

from devstack.openai.errors import invalid, missing

if TYPE_CHECKING:
    from devstack.openai.request import Request
    from devstack.openai.wire import Reply

SIDE = 96  # pixels of a generated image, whatever size is asked for
_WISH = re.compile(
    r"\b(draw|paint|sketch|illustrate)\b|\b(make|generate|create)\b[^.?!]{0,40}\b(image|picture|logo)\b", re.IGNORECASE
)
_PART_FIELDS = {"type", "image_url", "file_id", "detail"}
_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


@dataclass
class GeneratedImage:
    """`padding`: bytes after the end of the image, for tests of limits."""

    prompt: str
    padding: int = 0


def is_wanted(words: str, request: "Request") -> bool:
    """Whether a message asks for an image, and the request offers the hosted tool for it."""
    return "image_generation" in request.tool_types and bool(_WISH.search(words))


def events(reply: "Reply", index: int, item: GeneratedImage) -> Iterator[str]:
    offered: list[dict[str, Any]] = reply.request.body.get("tools") or []
    options = next((tool for tool in offered if tool["type"] == "image_generation"), {})
    item_id = f"ig_{reply.seed}{index:02x}"
    where = f'"item_id":"{item_id}","output_index":{index}'
    settings = ",".join(
        f'"{name}":{quote(str(options.get(name) or default))}'
        for name, default in (("size", "1024x1024"), ("quality", "high"), ("background", "opaque"))
    )

    def state(status: str, result: str) -> str:
        return (
            f'{{"id":"{item_id}","type":"image_generation_call","status":"{status}","result":{result},'
            f'"output_format":"png","revised_prompt":{quote(item.prompt)},"action":"generate",{settings}}}'
        )

    yield reply.added(index, state("in_progress", "null"))
    yield reply.event("response.image_generation_call.in_progress", where)
    yield reply.event("response.image_generation_call.generating", where)
    for number in range(int(options.get("partial_images") or 0)):
        preview = _base64(png(f"{item.prompt} {number}", SIDE // 4))
        more = f'"partial_image_index":{number},"partial_image_b64":"{preview}","output_format":"png",{settings}'
        yield reply.event("response.image_generation_call.partial_image", f"{where},{more}")
    yield reply.event("response.image_generation_call.completed", where)
    image = png(item.prompt, SIDE) + b"\0" * item.padding
    yield reply.done(index, state("completed", f'"{_base64(image)}"'))


def png(prompt: str, side: int) -> bytes:
    """A square PNG of stripes in two colours that depend on the prompt."""
    seed = hashlib.sha256(prompt.encode()).digest()
    colours, width = (seed[0:3], seed[3:6]), 2 + seed[6] % 9
    rows = b"".join(
        b"\0" + b"".join(colours[(column + row) // width % 2] for column in range(side)) for row in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ------------------------------------------------------------- images that are shown to the model


def check_part(part: dict[str, Any], where: str) -> None:
    """An `input_image` of a message, as the real service checks it. ApiError 400."""
    if unknown := sorted(part.keys() - _PART_FIELDS):
        raise invalid(f"Unknown parameter: '{where}.{unknown[0]}'.", f"{where}.{unknown[0]}", "unknown_parameter")
    url = part.get("image_url")
    if url is None and part.get("file_id") is None:
        raise missing(f"{where}.image_url")
    if isinstance(url, str) and url.startswith("data:"):
        _read(url, where)


def seen(content: Any) -> list[str]:
    """A few words about each image of a message, such as `a PNG of 96x96 pixels`."""
    parts = content if isinstance(content, list) else []
    return [_describe(part) for part in parts if part.get("type") == "input_image"]


def _describe(part: dict[str, Any]) -> str:
    url = str(part.get("image_url") or "")
    if not url.startswith("data:"):
        return "an image that I did not load"
    kind, data = _read(url, "image_url")
    name = kind.removeprefix("image/").upper()
    if kind == "image/png":
        width, height = struct.unpack(">II", data[16:24])
        return f"a {name} of {width}x{height} pixels"
    return f"a {name} of {len(data)} bytes"


def _read(url: str, where: str) -> tuple[str, bytes]:
    head, _, text = url.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        data = b""
    if kind not in _TYPES or len(data) < 24:
        raise invalid(
            "The image data you provided does not represent a valid image. Please check your input and try again.",
            where,
            "invalid_image",
        )
    return kind, data
