"""Lists, searches and details of a tenant with 10,000 conversations and 200,000 messages, one after another over HTTP."""

import io
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import psutil

from devstack.bench.report import Measure, Row, Target, ms, row
from devstack.bench.tools import Setup, connect, exchange, print_rows, request, sign_in
from devstack.bench.usage import Meter
from devstack.stack import PASSWORD
from models.auth import passwords
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Tenant
from models.auth.users import User
from models.conversations import history
from models.conversations.conversation import Conversation
from models.conversations.search import search
from models.platform.database import database, transaction
from models.platform.ids import uuid7
from models.platform.principal import Principal, scopes_for

CONVERSATIONS, MESSAGES, MEMBERS = 10_000, 20, 50  # messages of each conversation; members who have the same number
MEMBER = "member@example.com"
COUNT, WARM_UP, CROWD = 100, 10, 100
TARGET = Target("<=", (50, 50))
# What is added to a share of the messages, and what is searched for: a common word, a less common one, a rare one, two words
PHRASES = (
    (0.4, " The quarterly report is ready."),
    (0.02, " Send invoice reminders."),
    (0.00005, " Herons are nesting."),
)
QUERIES = ("report", "invoice", "herons", "report invoice", "nothing-like-it")
Read = Callable[[], object]


def texts() -> Iterator[str]:
    """Messages of 60 words. Some words are much more frequent than others, as in a language."""
    rng = random.Random(1)
    syllables = [
        start + end
        for start in ("b", "br", "c", "d", "f", "g", "k", "l", "m", "n", "pl", "r", "st", "t", "v")
        for end in "aeiou"
    ]
    words = ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(6000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    sentences = [" ".join(rng.choices(words, weights, k=12)).capitalize() + "." for _ in range(5000)]
    while True:
        added = "".join(phrase for share, phrase in PHRASES if rng.random() < share)
        yield " ".join(rng.choices(sentences, k=5)) + added


def fill(tenant_id: str, users: list[str]) -> None:
    """Load the conversations by COPY, which takes half a minute: their words are indexed."""
    conversations, messages, content = io.StringIO(), io.StringIO(), texts()
    for number in range(CONVERSATIONS):
        key, at = uuid7(), (datetime.now(UTC) - timedelta(minutes=CONVERSATIONS - number)).isoformat()
        columns = (key, tenant_id, users[number % len(users)], key, "triage", MESSAGES, "x" * 160, at, at, at)
        conversations.write("\t".join(map(str, (*columns, f"Title {number}"))) + "\n")
        for position in range(MESSAGES):
            role = "assistant" if position % 2 else "user"
            messages.write("\t".join(map(str, (uuid7(), key, position, role, next(content), at))) + "\n")
    names = "id, tenant_id, user_id, key, entry_agent, message_count, last_message, first_message_at, last_message_at"
    with transaction():
        copy(f"conversation ({names}, updated_at, title)", conversations)
        copy("message (id, conversation_id, position, role, content, created_at)", messages)
    database.execute_sql("set statement_timeout = 0")
    database.execute_sql("vacuum analyze conversation, message")


def copy(table: str, rows: io.StringIO) -> None:
    database.execute_sql("set local statement_timeout = 0")  # and the transaction begins with it
    rows.seek(0)
    database.cursor().copy_expert(f"copy {table} from stdin", rows)


def members(tenant_id: str) -> list[str]:
    """New members of the tenant. The first one can sign in."""
    tenant, hasher = Tenant.get_by_id(UUID(tenant_id)), PasswordHasher()
    hashed = passwords.choose_password(PASSWORD, MEMBER, hasher=hasher)
    with transaction():
        emails = [MEMBER, *[f"member-{number}@example.com" for number in range(1, MEMBERS)]]
        users = [User.add(email, hashed, tenant=tenant, role="member", verified=True) for email in emails]
    return [str(user.id) for user in users]


def times(read: Read) -> list[float]:
    for _ in range(WARM_UP):
        read()
    latencies = []
    for _ in range(COUNT):
        began = time.perf_counter()
        read()
        latencies.append(time.perf_counter() - began)
    return latencies


def over_http(url: str, path: str, headers: dict[str, str]) -> Read:
    sock, raw = connect(url), request("GET", f"/api/v1/conversations{path}", headers)
    return lambda: exchange(sock, raw)


def reads(principal: Principal) -> Iterator[tuple[str, str, Read]]:
    """(what is read, its path, the same without HTTP)"""
    yield "list", "", lambda: Conversation.page(principal, 50)
    deep = Conversation.page(principal, 100)
    for _ in range(50 if principal.role == "owner" else 0):
        deep = Conversation.page(principal, 100, deep.next_cursor)
    cursor = deep.next_cursor
    yield "list, a page far down", f"?{urlencode({'cursor': cursor})}", lambda: Conversation.page(principal, 50, cursor)
    for text in QUERIES:
        yield f"search: {text}", f"/search?{urlencode({'q': text})}", lambda text=text: search(principal, text, 20)  # type: ignore[misc]
    one = deep.items[0]
    yield "detail of 20 messages", f"/{one.key}", lambda: history.messages(one.id)


def crowd(url: str, headers: dict[str, str]) -> list[float]:
    """The times of 100 searches that are sent at once."""
    searches = [over_http(url, f"/search?{urlencode({'q': 'report'})}", headers) for _ in range(CROWD)]

    def one(read: Read) -> float:
        began = time.perf_counter()
        read()
        return time.perf_counter() - began

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(one, searches))


def main() -> None:
    setup = Setup.from_arguments()
    owner = sign_in(setup.url)
    users = members(owner["tenant_id"])
    fill(owner["tenant_id"], users)
    rows: list[Row] = []
    postgres = psutil.Process(database.execute_sql("select pg_backend_pid()").fetchone()[0]).ppid()
    for role, headers in (("owner", owner), ("member", sign_in(setup.url, MEMBER))):
        scopes = frozenset(scopes_for(role))
        principal = Principal(UUID(headers["user_id"]), UUID(headers["tenant_id"]), role, scopes, None, True)
        whose = "all of the tenant" if role == "owner" else f"own {CONVERSATIONS // MEMBERS}"
        for name, path, bare in reads(principal):
            meter = Meter({"edge": setup.pids["edge"], "postgres": postgres})
            through = times(over_http(setup.url, path, headers))
            used, alone = meter.used(), times(bare)
            pair = ms(through, 0.5, 0.95), ms(alone, 0.5, 0.95, note="the query alone")
            cost = Measure(tuple(1000 * used[part] / (WARM_UP + COUNT) for part in ("edge", "postgres")), "ms")
            rows.append(row(whose, f"{name}, p50 / p95", *pair, target=TARGET))
            rows.append(row(whose, f"{name}, CPU of edge / Postgres", cost))
    at_once = crowd(setup.url, owner)
    rows.append(row("all of the tenant", f"{CROWD} searches at once, p50 / last", ms(at_once, 0.5, 1)))
    rows.append(row("all of the tenant", "messages", Measure((CONVERSATIONS * MESSAGES,), "")))
    print_rows(rows)


if __name__ == "__main__":
    main()
