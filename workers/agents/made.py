"""The bytes of what a provider's tools have made, with their real type. Refused if they cannot be had, or are not allowed."""

import base64
import binascii
import mimetypes
from typing import Any

from models.platform.settings import settings
from workers.agents.items import Item
from workers.storage.inspection import Inspection, is_text

MEGABYTE = 1024 * 1024
FILE_MB = 32  # of a file that the code interpreter has written
FILE_SECONDS = 60.0
Typed = tuple[bytes, str]


class Refused(Exception):
    """It is not kept. `reason`: too_large, format_not_allowed, not_decodable, gone, storage_unavailable, or a code of an
    error of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decoded(text: str) -> Typed:
    """The image in a base64 text."""
    if len(text) > settings.image_output_max_mb * MEGABYTE * 4 // 3 + 4:
        raise Refused("too_large")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused("not_decodable") from None
    return _image(data)


def decoded_url(url: str) -> Typed:
    """The image in a data URL. Other URLs are not followed: the provider names such an image as a file, too."""
    if not url.startswith("data:"):
        raise Refused("not_decodable")
    return decoded(url.partition(",")[2])


def _image(data: bytes) -> Typed:
    if len(data) > settings.image_output_max_mb * MEGABYTE:
        raise Refused("too_large")
    types = [f"image/{name}" for name in settings.items(settings.image_allowed_formats)]
    found = next((mime_type for mime_type in types if _is(data, mime_type)), None)
    if found is None:
        raise Refused("format_not_allowed")
    return data, found


def downloaded(file: Item) -> Typed:
    """A file in a container of the provider's: `container_id`, `file_id`, `filename`."""
    from workers.gateways import openai

    def read(client: Any) -> bytes:
        content = client.containers.files.content.with_streaming_response
        data = b""
        with content.retrieve(file["file_id"], container_id=file["container_id"]) as response:
            for chunk in response.iter_bytes(MEGABYTE):
                data += chunk
                if len(data) > FILE_MB * MEGABYTE:
                    raise Refused("too_large")
        return data

    try:
        data = openai.call("containers.files.content", read, seconds=FILE_SECONDS)
    except openai.NotThere:
        raise Refused("gone") from None
    except openai.ProviderError as error:
        raise Refused(error.code) from None
    return data, _type_of(data, file["filename"])


def _type_of(data: bytes, name: str) -> str:
    """What its name says if that is true and may be stored; plain text is at least that."""
    guessed, _ = mimetypes.guess_type(name)
    allowed = settings.items(settings.storage_allowed_mime_types)
    if guessed in allowed and _is(data, guessed):
        return guessed
    if (guessed is None or is_text(guessed)) and _is(data, "text/plain"):
        return "text/plain"
    raise Refused("format_not_allowed")


def _is(data: bytes, mime_type: str) -> bool:
    inspection = Inspection(mime_type)
    inspection.feed(data)
    return inspection.is_as_announced
