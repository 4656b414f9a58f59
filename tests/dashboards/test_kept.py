import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboards.kept import Kept
from dashboards.source import _for_each


def test_what_several_ask_for_at_once_is_made_once():
    kept, go_on, made = Kept[str, int](8), threading.Event(), []

    def make() -> int:
        go_on.wait(10)
        made.append(1)
        return 7

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(kept.get, "a", make) for _ in range(4)]
        go_on.set()
        assert [one.result(10) for one in asked] == [7] * 4
    assert made == [1]


def test_what_takes_long_holds_up_nobody_who_asks_for_something_else(source):
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go_on.wait(10)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(source.kept, ("slow",), slow)
        assert begun.wait(10)
        assert source.kept(("fast",), lambda: "fast") == "fast"
        assert source.tables(source.board(()), "mixup")
        assert not first.done()
        go_on.set()
        assert first.result(10) == "slow"


def test_what_fails_is_told_and_tried_again():
    kept = Kept[str, int](8)

    def fail() -> int:
        raise OSError("no server")

    with pytest.raises(OSError, match="no server"):
        kept.get("a", fail)
    assert kept.get("a", lambda: 3) == 3


def test_the_latest_used_are_kept_as_far_as_there_is_room():
    kept = Kept[str, str](5, len)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda key=key: 2 * key)
    assert len(kept) == 2
    assert kept.get("a", lambda: "made anew") == "aa"
    assert kept.get("b", lambda: "made anew") == "made anew"
    assert len(kept) == 1  # nothing else has room beside it


def test_runs_are_read_by_several_threads_until_one_fails():
    seen: list[int] = []
    _for_each(range(100), seen.append, 4)
    assert sorted(seen) == list(range(100))

    def fail(number: int) -> None:
        raise OSError(number)

    with pytest.raises(OSError, match="0"):
        _for_each(range(100), fail, 1)


def test_the_first_page_is_read_before_anybody_asks(source, monkeypatch):
    source.begin()
    monkeypatch.setattr(source.reader, "runs", lambda *_: pytest.fail("read again"))
    assert source.board(()).names
