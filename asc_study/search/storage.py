"""The Optuna storage of a search: where it is, opening it, and the study in it, which one search alone may fill."""

import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.contract import Tag
from asc_study.base.errors import InputError
from asc_study.base.locks import file_lock
from asc_study.search.claims import try_once_more
from asc_study.store.addresses import SQLITE, address_line, require_plain_path, require_sqlite, tracking_uri

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

    from asc_study.base.metric_table import Direction

_OPTUNA_TABLES: Final = frozenset({"studies", "trials", "version_info"})
_HEARTBEAT_SECONDS: Final = 20
_GRACE_SECONDS: Final = 120
_CONNECT_SECONDS: Final = 10

#: Part of the record -> what to call it, if not by its name.
_NAMES: Final = {"space": "parameters", "seed": "seeds", "holdout": "held-out devices"}
_ABSENT: Final = "not there"


def storage_url(chosen: str | None = None) -> str:
    """The storage in use: the URL given, or ``optuna.db`` beside a SQLite tracking store, else in this folder.

    Raises
    ------
    InputError
        If it is not a URL of a database that processes can share.
    """
    if chosen is None:
        store = tracking_uri()
        folder = Path(store.removeprefix(SQLITE)).parent if store.startswith(SQLITE) else Path.cwd()
        chosen = f"{SQLITE}{folder / 'optuna.db'}"
    if "://" not in chosen:
        raise InputError(
            address_line(
                chosen,
                f"--storage must be the URL of a database, got '{{address}}': write {SQLITE}FILE or "
                "postgresql://user@host/name",
            )
        )
    if chosen.startswith("sqlite"):  # one storage has one name, wherever it is opened from: trials are claimed by it
        path = chosen.removeprefix(SQLITE)
        if path in (chosen, "", ":memory:") or "?" in path:
            raise InputError(
                address_line(
                    chosen,
                    "--storage of SQLite must be a file without '?' in its path, which workers share, got "
                    f"'{{address}}': write {SQLITE}FILE",
                )
            )
        return f"{SQLITE}{Path(path).resolve()}"
    if chosen.partition("://")[2].partition("/")[0].count("@") > 1:
        line = "--storage has more than one '@', got '{address}': write those of a password as %40"
        raise InputError(address_line(chosen, line))
    for scheme in ("postgresql://", "postgres://"):
        if chosen.startswith(scheme) and find_spec("psycopg2") is None:
            return f"postgresql+psycopg://{chosen.removeprefix(scheme)}"
    return chosen


def open_storage(url: str) -> "RDBStorage":
    """Open a storage, and create its tables if it is new.

    Parameters
    ----------
    url
        An SQLAlchemy URL, such as ``sqlite:///optuna.db`` or ``postgresql+psycopg://user@host/database``.

    Raises
    ------
    InputError
        If it cannot be reached or written, or its driver is not installed.
    """
    require_plain_path(url)
    if url.startswith(SQLITE):
        try:
            require_sqlite(Path(url.removeprefix(SQLITE)), _OPTUNA_TABLES, writes=True)
        except OSError as error:
            raise cannot_use(url, error) from None
    with quiet_optuna():
        from optuna.storages import RDBStorage

        try:
            with file_lock(f"optuna-storage {url}"):  # a fresh SQLite file can be filled by one process only
                return RDBStorage(
                    url.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a format
                    engine_kwargs=_engine_options(url),
                    heartbeat_interval=_HEARTBEAT_SECONDS,
                    grace_period=_GRACE_SECONDS,
                    heartbeat_stale_trial_callback=try_once_more,
                )
        except Exception as error:  # a missing driver, a bad address, a refused password: every database has its own
            raise cannot_use(url, error) from None


def open_study(url: str, name: str, directions: Mapping[str, "Direction"], identity: Mapping[str, Any]) -> "Study":
    """Open the Optuna study of a search, or create it.

    Parameters
    ----------
    url
        The storage.
    name
        The search, which is also the Optuna study.
    directions
        Metric -> ``maximize`` or ``minimize``, in the order of the objectives.
    identity
        What must not change while trials are added, in the types of JSON.

    Raises
    ------
    InputError
        If the storage holds another search of this name; the line says what differs.
    """
    storage = open_storage(url)
    with quiet_optuna():
        import optuna

        with file_lock("identity of a study"):  # one for all storages: two processes may call this one differently
            try:
                study = optuna.create_study(
                    storage=storage, study_name=name, directions=list(directions.values()), load_if_exists=True
                )
                same = [direction.name.lower() for direction in study.directions] == list(directions.values())
                if Tag.SEARCH not in study.user_attrs and same and not study.get_trials(deepcopy=False):
                    study.set_metric_names(list(directions))
                    study.set_user_attr(Tag.SEARCH, dict(identity))
                if Tag.SEARCH in study.user_attrs and Tag.STORE not in study.user_attrs:
                    study.set_user_attr(Tag.STORE, uuid.uuid4().hex)
            except Exception as error:  # SQLAlchemy's, of every database
                raise cannot_use(url, error) from None
    recorded = study.user_attrs.get(Tag.SEARCH)
    if not isinstance(recorded, dict):
        raise InputError(
            address_line(
                url,
                f"the storage {{address}} has a study {name!r} that no search made: rename the search, or use another "
                "storage",
            )
        )
    _require_equal(name, url, recorded, json.loads(json.dumps(identity)))
    return study


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log and its notes on experimental functions, of which heartbeats are one, from the terminal."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "The number of trials is too small to compute importances")
        warnings.filterwarnings("ignore", "Some regimes for parameter|Target and region quantiles")  # of importances
        yield


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Make one line of whatever a storage says that is lost in the middle of the work."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
        raise cannot_use(url, error) from None


def cannot_use(url: str, error: Exception) -> InputError:
    """One line for whatever a database or its driver says."""
    cause = error.__cause__ if isinstance(error, ImportError) and error.__cause__ else error
    hint = ""
    if isinstance(error, ImportError) and url.startswith("postgres"):
        hint = " (pip install asc-study[postgresql] and write postgresql+psycopg://...)"
    return InputError(
        address_line(url, f"the Optuna storage {{address}} cannot be used: {{reason}}{hint}: check --storage", cause)
    )


def _engine_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}
    if url.startswith("postgresql"):
        return {"connect_args": {"connect_timeout": _CONNECT_SECONDS}, "pool_pre_ping": True}
    return {"pool_pre_ping": True}


def _require_equal(name: str, url: str, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for part in wanted:
        if recorded.get(part) != wanted[part]:
            raise InputError(
                address_line(
                    url,
                    f"the search {name!r} in {{address}} was begun with other {_NAMES.get(part, part)}: "
                    f"{_difference(part, recorded.get(part), wanted[part])}: rename the search, or use another storage",
                )
            )


def _difference(key: str, was: Any, now: Any) -> str:
    """The first thing in which two values differ, down to a single setting."""
    if isinstance(was, dict) and isinstance(now, dict):
        differing = next(one for one in [*was, *now] if was.get(one, _ABSENT) != now.get(one, _ABSENT))
        return _difference(f"{key}.{differing}", was.get(differing, _ABSENT), now.get(differing, _ABSENT))
    return f"{key} was {_short(was)}, is {_short(now)}"


def _short(value: Any) -> Any:
    return value[:12] if isinstance(value, str) else value  # a digest
