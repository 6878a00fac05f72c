"""Full-text search in conversations: the best match first, and of each the text around it."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from peewee import SQL, Expression, fn

from models.conversations.conversation import PREVIEW, Conversation, Message
from models.platform.database import database
from models.platform.keyset import InvalidCursor, Keys, KeysetPage
from models.platform.principal import Principal

if TYPE_CHECKING:
    from peewee import ModelSelect

RANKED = 1000  # matches that are ranked: those in the conversations that were updated last
WORDS = 16  # of a query, that a preview looks for
BEFORE = 60  # characters of a preview before the match
KEYS = Keys(float, datetime, UUID)

# The best of a conversation's matches is its score. A preview begins at the whole query where the message has it, else at
# one of its words, found by its stem. Stems may end in another letter than their words do: happi, studi.
SEARCH = r"""
with given as materialized (
    select plainto_tsquery('english', %s) as words, lower(%s) as phrase, (
        select '\m(?:' || string_agg(
            regexp_replace(regexp_replace(lexeme, '(.{{3,}})[iey]$', '\1'), '(\W)', '\\\1', 'g'), '|') || ')'
        from (select lexeme from unnest(to_tsvector('english', %s)) limit %s) lexemes
    ) as pattern
), hits as materialized ({hits}), titled as materialized ({titled}), scored as (
    select hits.id, hits.updated_at, hits.message_id, ts_rank_cd(message.search, words)::float8 as score
    from given, hits join message on message.id = hits.message_id
    union all
    select id, updated_at, null, score::float8 from titled
), best as (
    select distinct on (id) id, updated_at, message_id, score from scored order by id, score desc, message_id desc nulls last
), page as (
    select * from best where {after} order by score desc, updated_at desc, id desc limit %s
)
select page.score, page.updated_at, page.id, key, title, last_message_at,
    case when content is null then last_message else substr(content, greatest(1, at - %s), %s) end, coalesce(at > %s, false)
from given, page join conversation using (id) left join message on message.id = message_id left join lateral (
    select coalesce(nullif(strpos(lower(content), phrase), 0), regexp_instr(content, pattern, 1, 1, 0, 'i')) as at
) hit on true
order by 1 desc, 2 desc, 3 desc"""


class InvalidSearchCursor(InvalidCursor):
    message = "Invalid search pagination cursor"


class SearchHit(NamedTuple):
    """`preview`: plain text, about 160 characters around the match. `score`: not negative, higher is better."""

    score: float
    updated_at: datetime
    id: UUID
    key: str
    title: str | None
    last_message_at: datetime
    preview: str


def search(
    principal: Principal, text: str, limit: int, cursor: str | None = None, agent: str | None = None
) -> KeysetPage[SearchHit]:
    """The conversations that this caller may read with a message, or a chosen title, that holds all words of `text`.

    The best match comes first, then the conversation that was updated last. InvalidSearchCursor.
    """
    visible = Conversation.visible_to(principal)
    if agent is not None:
        visible = visible.where(Conversation.entry_agent == agent)
    return _search(visible, text, limit, cursor)


def search_own(user_id: UUID | None, tenant_id: UUID, text: str, limit: int) -> list[SearchHit]:
    """The same for a user's own conversations only. A machine has none."""
    if user_id is None:
        return []
    is_own = (Conversation.tenant_id == tenant_id) & (Conversation.user_id == user_id)
    return _search(Conversation.select().where(is_own), text, limit, None).items


def _search(visible: "ModelSelect[Any]", text: str, limit: int, cursor: str | None) -> KeysetPage[SearchHit]:
    try:
        after = KEYS.decode(cursor) if cursor is not None else []
    except InvalidCursor:
        raise InvalidSearchCursor() from None
    visible = visible.where(Conversation.message_count > 0).order_by(
        Conversation.updated_at.desc(), Conversation.id.desc()
    )
    hits, hit_values = _matching_messages(visible, text).sql()
    titled, titled_values = _matching_titles(visible, text).sql()
    condition = "(score, updated_at, id) < (%s::float8, %s::timestamptz, %s::uuid)" if after else "true"
    statement = SEARCH.format(hits=hits, titled=titled, after=condition)
    window = (BEFORE, BEFORE + PREVIEW, BEFORE + 1)
    values = [text, text, text, WORDS, *hit_values, *titled_values, *after, limit + 1, *window]
    rows = [_hit(*row) for row in database.execute_sql(statement, values).fetchall()]
    return KeysetPage.cut(rows, limit, lambda row: KEYS.encode(row[:3]))


def _matching_messages(visible: "ModelSelect[Any]", text: str) -> "ModelSelect[Any]":
    message = Message.alias("message")
    matches = Expression(SQL("message.search"), "@@", _words(text))
    query = visible.select(Conversation.id, Conversation.updated_at, message.id.alias("message_id"))
    return query.join(message, on=(message.conversation == Conversation.id)).where(matches).limit(RANKED)


def _matching_titles(visible: "ModelSelect[Any]", text: str) -> "ModelSelect[Any]":
    """Only chosen titles: the words of the others are in their conversations' first messages."""
    vector = fn.to_tsvector("english", Conversation.title)
    rank = fn.ts_rank_cd(vector, _words(text)).alias("score")
    matches = Expression(vector, "@@", _words(text)) & Conversation.renamed_at.is_null(False)
    return visible.select(Conversation.id, Conversation.updated_at, rank).where(matches).limit(RANKED)


def _hit(*row: Any) -> SearchHit:
    *columns, text, is_cut = row
    return SearchHit._make([*columns, _preview(text, is_cut)])


def _words(text: str) -> Any:
    return fn.plainto_tsquery("english", text)


def _preview(text: str, is_cut: bool) -> str:
    """One line of at most 160 characters, cut between words where there are any. `is_cut`: text came before it."""
    text = " ".join(text.split())
    if is_cut:
        head, space, rest = text.partition(" ")
        text = f"…{rest}" if space and len(head) < BEFORE / 2 else f"…{text}"
    if len(text) <= PREVIEW:
        return text
    head, space, tail = text[: PREVIEW - 1].rpartition(" ")
    return f"{head}…" if space and len(tail) < BEFORE / 2 else f"{text[: PREVIEW - 1]}…"
