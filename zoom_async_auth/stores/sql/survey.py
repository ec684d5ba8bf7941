"""How the database counts the identities that it keeps: in one look at the table, which returns a row for each app."""

from typing import Final

from sqlalchemy import ColumnElement, Double, Executable, Text, and_, case, func, literal_column, select

from zoom_async_auth.stores.sql.table import EMPTY, tokens
from zoom_async_auth.stores.survey import DUE, RECENTLY

_PREFIX: Final = {
    "sqlite": "substr(key, 1, instr(key, '/'))",
    "postgresql": "substr(key, 1, strpos(key, '/'))",
}
# The oldest intent is the first one. Text that is damaged is no reason to know nothing of all others: in PostgreSQL,
# where JSON that cannot be read is an error, it is read as the text that it is.
_SINCE: Final = {
    "sqlite": "CASE WHEN json_valid(intents) THEN json_extract(intents, '$[0][2]') END",
    "postgresql": r"""substring(intents from '^\[\[".*?", -?\d+, (\d+\.?\d*)\]')::double precision""",
}


def survey_query(dialect: str, prefix: str, now: float) -> Executable:
    """Return what counts the keys that begin with `prefix`; the columns are the attributes of `Survey`.

    Args:
        dialect: "sqlite" or "postgresql".
        prefix: Compared exactly: LIKE would take one case for the other in SQLite.
        now: The database's time.
    """
    rows = (
        select(
            literal_column(_PREFIX[dialect], Text).label("prefix"),
            tokens.c.payload.is_not(None).label("has_token"),
            tokens.c.cause.is_not(None).label("is_dead"),
            tokens.c.issued_at,
            tokens.c.expires_at,
            tokens.c.leased_until,
            tokens.c.intents,
        )
        .where(func.substr(tokens.c.key, 1, len(prefix)) == prefix)
        .cte("identities")
        .prefix_with("MATERIALIZED")  # or whole tokens would be sorted with the rest of the row
    )
    one = rows.c
    usable = and_(one.has_token, ~one.is_dead)
    valid = and_(usable, one.expires_at > now)
    leased, spending = one.leased_until > now, one.intents != EMPTY["intents"]
    of_intents = now - func.min(literal_column(_SINCE[dialect], Double)).filter(spending)
    return (
        select(
            one.prefix,
            _count(valid).label("valid"),
            _count(usable, one.expires_at <= now).label("expired"),
            _count(one.is_dead).label("dead"),
            _count(~one.has_token, ~one.is_dead).label("empty"),
            _count(valid, one.issued_at + DUE * (one.expires_at - one.issued_at) <= now).label("due"),
            _count(one.has_token, one.issued_at > now - RECENTLY).label("renewed"),
            _count(leased).label("leased"),
            _count(spending).label("intents"),
            _count(spending, ~leased).label("in_doubt"),
            case((of_intents < 0, 0.0), else_=of_intents).label("oldest_intent"),  # the clock may have been set back
            (now - func.min(one.issued_at).filter(usable)).label("oldest_token"),
        )
        .group_by(one.prefix)
        .order_by(one.prefix)
    )


def _count(*where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(*where)
