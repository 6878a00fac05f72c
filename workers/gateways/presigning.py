"""URLs that let a client write or read one object, by AWS Signature Version 4. Pure computation: no network.

The `minio` client signs no header but the host. These can: with a signed length and type the storage itself refuses any other.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """`endpoint`: where clients reach the storage, as `https://host[:port]`. ValueError for anything else."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("the storage's endpoint has to be http:// or https:// and a host, without a path")

    def url(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        seconds: int,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        at: datetime | None = None,
    ) -> str:
        """A URL that is good for one method, from `at` (default: now) for so many seconds.

        `headers`: with lower-case names; a request without exactly these is refused. `query`: more parameters.
        """
        time = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        host = urlsplit(self.endpoint).netloc
        signed = dict(sorted({"host": host, **(headers or {})}.items()))
        names, scope = ";".join(signed), f"{time[:8]}/{self.region}/s3/aws4_request"
        parameters = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": time,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
        }
        asked = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(parameters.items()))
        path = f"/{bucket}/{quote(key, safe='/-_.~')}"
        lines = [method, path, asked, *(f"{name}:{value}" for name, value in signed.items()), "", names]
        request = "\n".join([*lines, "UNSIGNED-PAYLOAD"])
        text = "\n".join([ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = hmac.digest(_key(self.secret_key, time[:8], self.region), text.encode(), "sha256").hex()
        return f"{self.endpoint.rstrip('/')}{path}?{asked}&X-Amz-Signature={signature}"


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    """The same for all URLs of a day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
