"""Why a file cannot be indexed: codes that stay, and sentences for people."""

MESSAGES = {
    "archive_refused": "The document unpacks to far more than it should, or has far too many parts.",
    "bad_encoding": "The text is neither UTF-8 nor in another encoding that can be told.",
    "broken_file": "The file is damaged, or is not what it claims to be.",
    "encrypted": "The file is protected by a password.",
    "file_too_large": "The file is too large to be read.",
    "no_text": "The file has no text. Scanned pages and images are not read.",
    "object_damaged": "The stored file is not what was uploaded.",
    "object_gone": "The stored file was deleted.",
    "reader_failed": "The file made its reader fail.",
    "too_many_pages": "The document has too many pages.",
    "too_much_memory": "Reading the file takes too much memory.",
    "too_much_text": "The file has more text than one file may have.",
    "too_slow": "Reading the file takes too long.",
    "unsafe_xml": "The document defines entities of its own, which is not allowed.",
    "unsupported_type": "Files of this type cannot be indexed.",
}


class Unreadable(Exception):
    """The file itself is why: trying again would not help. `code`: one of MESSAGES."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or MESSAGES[code])
        self.code, self.message = code, message or MESSAGES[code]
