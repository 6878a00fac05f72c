"""A receiver of webhooks that listens on many ports, as many hosts would. `python -m devstack.bench.fanout_receiver <slow> <silent> <port> ...`

The first `slow` ports answer after half a second, the next `silent` ones never. GET on any other port: the ids of all messages, as JSON.
"""

import asyncio
import json
import sys
from collections import Counter
from functools import partial

SLOW_SECONDS = 0.5
got: Counter[str] = Counter()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if ": " in line)
        if head.startswith("GET"):
            body = json.dumps(got).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        else:
            await reader.readexactly(int(headers["content-length"]))
            await asyncio.sleep(delay)
            got[headers["webhook-id"]] += 1
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the sender was killed
    finally:
        writer.close()


async def main(slow: int, silent: int, ports: list[int]) -> None:
    for number, port in enumerate(ports):
        delay = SLOW_SECONDS if number < slow else 3600 if number < slow + silent else 0.0
        await asyncio.start_server(partial(answer, delay=delay), "127.0.0.1", port, backlog=1000)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), [int(text) for text in sys.argv[3:]]))
