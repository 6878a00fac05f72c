"""What runs in the child: standard input is the file, standard output is lines of JSON.

{"type": "pdf", "pages": 12, "confined": ["network", "files"]}   first
{"text": "...", "page": 3}                                       a chunk
{"error": "encrypted", "message": "..."}                         last, if the file cannot be read
{"error": "reader_failed", "cause": "KeyError in api.py:12"}     last, if a reader has a fault: for operators
{"end": true}                                                    last, if it was read
"""

import json
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import BinaryIO, TextIO

from workers.vector_stores.extraction import confinement, content
from workers.vector_stores.extraction.chunking import chunks
from workers.vector_stores.extraction.failures import Unreadable

SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib")
Request = dict[str, object]


def main(text: str) -> None:
    """`text`: the request as JSON, as process.py writes it."""
    request = json.loads(text)
    confinement.die_with(request["parent"])
    confinement.limit(memory=request["memory"], seconds=request["seconds"])
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    # Readers are imported when they are needed, and the libraries that they are linked to.
    confined = confinement.confine([*sorted(libraries), str(Path(__file__).parent), *SYSTEM_LIBRARIES])
    out = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115  (it ends with the process)
    with open(0, "rb", closefd=False) as file:
        _answer(file, out, request, confined)
    out.flush()
    os._exit(0)  # what a hostile file has left behind is not tidied up


def _answer(file: BinaryIO, out: TextIO, request: Request, confined: list[str]) -> None:
    try:
        found = content.read(file, request["declared"])  # type: ignore[arg-type]
        _say(out, {"type": found.type, "pages": found.pages, "confined": confined})
        for chunk in chunks(found.blocks, request["size"], request["overlap"]):  # type: ignore[arg-type]
            _say(out, {"text": chunk.text, "page": chunk.page})
        _say(out, {"end": True})
    except Unreadable as error:
        _say(out, {"error": error.code, "message": error.message})
    except (MemoryError, RecursionError) as error:
        code = "too_much_memory" if isinstance(error, MemoryError) else "broken_file"
        _say(out, {"error": code})
    except Exception as error:  # noqa: BLE001  (a reader's own fault; its text may quote the file, so it stays here)
        where = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}"
        _say(out, {"error": "reader_failed", "cause": cause})


def _say(out: TextIO, line: dict[str, object]) -> None:
    out.write(json.dumps(line, ensure_ascii=False))
    out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
