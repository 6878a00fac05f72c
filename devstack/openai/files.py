"""POST, GET and DELETE /v1/files, and the content of one."""

import falcon

from devstack.openai.errors import ApiError, invalid, missing
from devstack.openai.library import LARGEST_FILE, File, Library, paged

PURPOSES = ("assistants", "user_data", "vision", "batch", "fine-tune")


class Files:
    def __init__(self, library: Library) -> None:
        self.library = library

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        name, data, purpose = "", None, ""
        for part in req.get_media():
            if part.name == "file":
                name, data = part.filename or "", part.stream.read(LARGEST_FILE + 1)
            elif part.name == "purpose":
                purpose = part.get_text()
        if data is None:
            raise missing("file")
        if purpose not in PURPOSES:
            raise invalid(f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", "purpose")
        if len(data) > LARGEST_FILE:
            raise ApiError(413, "The file is too large for the demo.")
        if not data:
            raise invalid("File is empty.", "file")
        file = File(name, purpose, data, int(self.library.now()))
        self.library.files[file.id] = file
        resp.media = file.show()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = req.params.get("purpose")
        files = [file for file in self.library.files.values() if wanted in (None, file.purpose)]
        resp.media = paged(files, File.show, req.params, lambda file: file.id)

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        resp.media = self.library.file(file_id).show()

    def on_delete_one(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        """It disappears from all stores, too."""
        self.library.file(file_id)
        del self.library.files[file_id]
        for store in self.library.stores.values():
            store.files.pop(file_id, None)
        resp.media = {"id": file_id, "object": "file", "deleted": True}

    def on_get_content(self, req: falcon.Request, resp: falcon.Response, file_id: str) -> None:
        resp.content_type = "application/octet-stream"
        resp.data = self.library.file(file_id).data
