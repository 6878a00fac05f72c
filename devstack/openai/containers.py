"""Endpoints of containers and of the files in them."""

from typing import Any

import falcon

from devstack.openai.container_store import MINUTES, Container, ContainerFile, Containers
from devstack.openai.errors import ApiError, invalid, missing, wrong_type
from devstack.openai.library import paged
from devstack.openai.request import parse
from devstack.openai.sandbox.process import FILE_BYTES, MEMORY


class ContainerResources:
    def __init__(self, containers: Containers) -> None:
        self.containers = containers

    def add_to(self, app: falcon.App[Any, Any]) -> None:
        """Add all routes."""
        app.add_route("/v1/containers", self)
        app.add_route("/v1/containers/{container_id}", self, suffix="one")
        app.add_route("/v1/containers/{container_id}/files", self, suffix="files")
        app.add_route("/v1/containers/{container_id}/files/{file_id}", self, suffix="file")
        app.add_route("/v1/containers/{container_id}/files/{file_id}/content", self, suffix="content")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        body = parse(req.stream.read())
        if not isinstance(body.get("name"), str):
            raise missing("name") if body.get("name") is None else wrong_type("name", "a string", body["name"])
        memory, file_ids = body.get("memory_limit") or "1g", read_file_ids(body.get("file_ids"), "file_ids")
        check_memory(memory, "memory_limit")
        container = self.containers.create(body["name"], memory, _minutes(body.get("expires_after")), file_ids)
        resp.media = container.shape()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        name = req.get_param("name")
        found = [one for one in self.containers.listed() if name is None or one.name == name]
        resp.media = paged(found, Container.shape, req.params, _id)

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, container_id: str) -> None:
        resp.media = self.containers.get(container_id).shape()

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, container_id: str) -> None:
        self.containers.delete(container_id)
        resp.media = {"id": container_id, "object": "container.deleted", "deleted": True}

    def on_get_files(self, req: falcon.Request, resp: falcon.Response, container_id: str) -> None:
        container = self.containers.alive(container_id)
        resp.media = paged(list(container.files.values()), container.shape_of, req.params, _id)

    def on_post_files(self, req: falcon.Request, resp: falcon.Response, container_id: str) -> None:
        container = self.containers.alive(container_id)
        if (req.content_type or "").startswith("multipart/form-data"):
            file = self.containers.write(container, *_upload(req))
        else:
            file = self.containers.copy(container, _file_id(parse(req.stream.read())))
        resp.media = container.shape_of(file)

    def on_get_file(self, req: falcon.Request, resp: falcon.Response, container_id: str, file_id: str) -> None:
        container = self.containers.alive(container_id)
        resp.media = container.shape_of(self.containers.file(container, file_id))

    def on_delete_file(self, req: falcon.Request, resp: falcon.Response, container_id: str, file_id: str) -> None:
        container = self.containers.alive(container_id)
        self.containers.remove(container, self.containers.file(container, file_id))
        resp.media = {"id": file_id, "object": "container.file.deleted", "deleted": True}

    def on_get_content(self, req: falcon.Request, resp: falcon.Response, container_id: str, file_id: str) -> None:
        container = self.containers.alive(container_id)
        resp.data = self.containers.read(container, self.containers.file(container, file_id))
        resp.content_type = "application/binary"


def check_memory(value: Any, param: str) -> None:
    """ApiError 400 unless it is a tier."""
    if value not in MEMORY:
        raise invalid(
            f"Invalid value: '{value}'. Supported values are: '1g', '4g', '16g', and '64g'.", param, "invalid_value"
        )


def read_file_ids(value: Any, param: str) -> tuple[str, ...]:
    """ApiError 400 unless it is a list of strings, or nothing."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise wrong_type(param, "an array of strings", value)
    return tuple(value)


def _id(one: Container | ContainerFile) -> str:
    return one.id


def _minutes(value: Any) -> int:
    if value is None:
        return MINUTES
    if not isinstance(value, dict):
        raise wrong_type("expires_after", "an object", value)
    if value.get("anchor") != "last_active_at":
        raise invalid("Invalid value for 'expires_after.anchor'.", "expires_after.anchor", "invalid_value")
    minutes = value.get("minutes")
    if not isinstance(minutes, int) or isinstance(minutes, bool):
        raise wrong_type("expires_after.minutes", "an integer", minutes)
    if not 1 <= minutes <= MINUTES:
        bound, code = ("minimum", "integer_below_min_value") if minutes < 1 else ("maximum", "integer_above_max_value")
        raise invalid(f"Invalid 'expires_after.minutes': integer beyond {bound} value.", "expires_after.minutes", code)
    return minutes


def _file_id(body: dict[str, Any]) -> str:
    if not isinstance(body.get("file_id"), str):
        raise missing("file_id")
    return str(body["file_id"])


def _upload(req: falcon.Request) -> tuple[str, bytes]:
    for part in req.get_media():
        if part.name == "file":
            content = part.stream.read(FILE_BYTES + 1)
            if len(content) > FILE_BYTES:
                raise ApiError(413, "The file is too large for this container.")
            return part.filename or "file", content
    raise missing("file")
