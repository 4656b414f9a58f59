"""Addresses of the tracking store and of other databases: which is in use, whether it answers, how it is shown."""

import base64
import json
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from asc_study.base.errors import InputError

SQLITE: Final = "sqlite:///"

_MLFLOW_TABLES: Final = frozenset({"alembic_version"})

_HIDDEN: Final = "***"

#: What an address begins with, also where a colon or a slash is missing.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(:/{0,3}|/{2,3})")
_NO_PORT: Final = re.compile(r"([^/:\[]*):([^/]*[^/\d][^/]*)")
_PLAIN: Final = re.compile(r"[\w.+-]*")
_PLACE: Final = re.compile(r"\{address\}|\{reason\}")
_PIECES: Final = re.compile(r"[@/:?#&=\s'\"\\]+")

#: Keys of a query whose values may be shown; all others may hold a secret.
_HARMLESS_KEYS: Final = frozenset(
    {
        "application_name",
        "charset",
        "connect_timeout",
        "dbname",
        "driver",
        "host",
        "mode",
        "port",
        "ssl",
        "sslmode",
        "user",
    }
)
_SECRET_VARIABLES: Final = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")

#: A secret of fewer characters is hidden as a word only, and pieces of fewer are no secret.
_SHORT: Final = 4
_SHORTEST_PIECE: Final = 3

_LONGEST_REASON: Final = 300


class StoreError(InputError):
    """A store that cannot be opened, read or written; the message is one line without its secrets."""


def tracking_uri() -> str:
    """The store in use: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working directory."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    # One store has one name, wherever it is opened from: runs are claimed by it.
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


@dataclass(frozen=True)
class Address:
    """An address taken apart: how it is shown, and what of it nobody may read."""

    shown: str
    secrets: tuple[str, ...]


def parse_address(uri: str) -> Address:
    """Take an address apart, also one with a typing error or with a password that is not percent-encoded.

    Secret are the password, all before the ``@`` of a web server or of an address with a typing error (a token can
    stand for the user there), what stands for a port but is no number, and every value of the query that is not known
    to be harmless. Where it is not clear what a part is, it counts as secret.
    """
    if uri.startswith((SQLITE, "file:")):  # a path may hold any character
        place, mark, query = uri.partition("?")
        shown_query, secrets = _parse_query(query)
        return Address(place + mark + shown_query, secrets)
    match = _SCHEME.match(uri)
    scheme, separator = (match[1], match[2]) if match else ("", "")
    user_info, rest = _split_user(uri[len(scheme) + len(separator) :])
    place, mark, query = rest.partition("?")
    place, hash_mark, fragment = place.partition("#")
    shown_query, secrets = _parse_query(query)
    if fragment:
        secrets += (fragment,)
    user = ""
    if user_info is not None:
        name, colon, password = user_info.partition(":")
        is_database = separator == "://" and scheme.lower() not in ("http", "https")
        user = f"{name}:{_HIDDEN}@" if colon else f"{name}@"
        secrets += (password,)
        if not (is_database and _PLAIN.fullmatch(name)):
            user = f"{_HIDDEN}@"
            secrets += (name, user_info)
    elif found := _NO_PORT.match(place):
        place = f"{found[1]}:{_HIDDEN}{place[found.end() :]}"
        secrets += (found[2],)
    shown = f"{scheme}{separator}{user}{place}{mark}{shown_query}{f'#{_HIDDEN}' if hash_mark else ''}"
    return Address(shown, tuple(secret for secret in secrets if secret))


def masked(uri: str) -> str:
    """An address as it is shown to people: without any secret."""
    return parse_address(uri).shown


def address_line(uri: str, message: str, reason: BaseException | str = "") -> str:
    """The one way to say anything about an address.

    Parameters
    ----------
    uri
        The address.
    message
        One line, in which ``{address}`` stands for the address and ``{reason}`` for the reason.
    reason
        What a library said: it becomes one line of at most 300 characters, without the secrets of the address.
    """
    said = " ".join(scrubbed(str(reason), uri).split()).partition(" (Background on")[0][:_LONGEST_REASON]
    if not said and isinstance(reason, BaseException):
        said = type(reason).__name__
    parts = {"{address}": masked(uri), "{reason}": said}
    return _PLACE.sub(lambda match: parts[match[0]], message)


def scrubbed(text: str, *uris: str) -> str:
    """A text of somebody else without the secrets of these addresses and of the environment, however spelled there."""
    secrets = [secret for uri in uris for secret in parse_address(uri).secrets]
    secrets += [os.environ[name] for name in _SECRET_VARIABLES if os.environ.get(name)]
    spellings = sorted({one for secret in secrets for one in _spellings(secret)}, key=len, reverse=True)
    for one in spellings:
        pattern = re.escape(one)
        if len(one) < _SHORT:  # as a part of a word it is not the secret
            pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
        text = re.sub(pattern, _HIDDEN, text, flags=re.IGNORECASE)
    return text


def require_plain_path(uri: str) -> None:
    """Refuse a SQLite file that SQLAlchemy would look for elsewhere; MLflow would try again for minutes.

    It reads ``%20`` in a path as a space, so that the store of the folder ``a%20b`` would be that of ``a b``.

    Raises
    ------
    StoreError
        If the path holds ``?``, or ``%`` before two hexadecimal digits.
    """
    path = uri.removeprefix(SQLITE)
    if path != uri and ("?" in path or unquote(path) != path):
        line = "a SQLite file must have a path without '?' and codes such as %20, got {address}: rename its folder"
        raise StoreError(address_line(uri, line))


def require_sqlite(database: Path, own_tables: frozenset[str] = _MLFLOW_TABLES, *, writes: bool = False) -> bool:
    """Create or look into the file, so that a path that cannot work is found at once; MLflow retries for long.

    Returns
    -------
    bool
        Whether it holds tables.

    Raises
    ------
    OSError
        If it cannot be opened (with ``writes``, written), or holds tables but none of its owner's.
    """
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:  # several processes read and write: set once, kept in the file
                connection.execute("PRAGMA journal_mode=WAL")
            elif writes:
                connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(str(error)) from None
    if tables and tables.isdisjoint(own_tables):  # not all need be there: another process may be creating them
        raise OSError("it is a database of something else")
    return bool(tables)


def require_server(uri: str) -> None:
    """Ask a tracking server for an answer; MLflow itself would try again for minutes."""
    import requests

    try:
        requests.get(uri, timeout=20)
    except (requests.RequestException, ValueError) as error:
        raise cannot_open(uri, error) from None


def require_database(uri: str) -> None:
    """Connect once; MLflow itself would try again for minutes."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri, connect_args={"connect_timeout": 10} if uri.startswith("postgresql") else {})
        engine.connect().close()
        engine.dispose()
    # ImportError: the driver is not installed; ValueError: the port is no number.
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise cannot_open(uri, error) from None


def cannot_open(uri: str, error: Exception) -> StoreError:
    """One line for whatever made a store unusable."""
    return StoreError(
        address_line(uri, "the tracking store {address} cannot be opened: {reason}: check MLFLOW_TRACKING_URI", error)
    )


def cannot_write(uri: str, error: Exception) -> StoreError:
    """One line for whatever a store that can be read says when it is written."""
    return StoreError(
        address_line(uri, "the tracking store {address} cannot be written: {reason}: mend that and try again", error)
    )


def _split_user(rest: str) -> tuple[str | None, str]:
    """What stands before the host, and the rest; None if nothing does. A password may hold ``@``, ``/`` and ``?``.

    Where an ``@`` may be one of the query as well as of a password, all of it counts as what stands before the host.
    """
    at = rest.rfind("@")
    if at < 0:
        return None, rest
    question = rest.find("?")
    if 0 <= question < at and "=" in rest[question:at]:
        return rest, ""
    return rest[:at], rest[at + 1 :]


def _parse_query(query: str) -> tuple[str, tuple[str, ...]]:
    """A query as it is shown, and its secrets."""
    shown, secrets = [], []
    for part in query.split("&") if query else []:
        key, equals, value = part.partition("=")
        if equals and key.lower() in _HARMLESS_KEYS:
            shown.append(part)
        elif equals and _PLAIN.fullmatch(key):
            shown.append(f"{key}={_HIDDEN}")
            secrets.append(value)
        else:
            shown.append(_HIDDEN)
            secrets.append(part)
    return "&".join(shown), tuple(secrets)


def _spellings(secret: str) -> set[str]:
    """How a library may write a secret: encoded, decoded, escaped, or a piece of it that it took for a host or path."""
    found = set()
    for plain in {secret, unquote(secret), unquote_plus(secret)}:
        found |= {plain, quote(plain), quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1]}
        found |= {json.dumps(plain)[1:-1], base64.b64encode(plain.encode(errors="replace")).decode()}
        for piece in _PIECES.split(plain):
            if len(piece) >= _SHORTEST_PIECE:
                found |= {piece, quote(piece, safe=""), quote_plus(piece), repr(piece)[1:-1]}
    return {one for one in found if one.strip()}
