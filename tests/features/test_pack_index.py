"""The index of a cache: it is found by it, and nothing that happens to it changes a feature."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_study.features import pack_index
from asc_study.features import packs as packs_module
from asc_study.features.audio import Recording
from asc_study.features.listing import About, Listing
from asc_study.features.logmel import LogMelSettings
from asc_study.features.pack_index import INDEX_NAME, PackIndex, with_index
from asc_study.features.packs import find
from asc_study.features.store import FeatureStore, entry_key, extract

SETTINGS = LogMelSettings(8000, n_fft=256, hop_length=128, n_mels=16)
CLIPS = 8


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("audio")
    for index in range(CLIPS):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.standard_normal(2000), 8000)
    return [Recording(folder / f"{index}.wav", f"digest {index}") for index in range(CLIPS)]


@pytest.fixture
def cache(tmp_path: Path, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds all recordings in several packs."""
    monkeypatch.setattr(packs_module, "_CLIPS_PER_PACK", 2)
    get(recordings, tmp_path / "features")
    assert len(list((tmp_path / "features").glob("*.npy"))) > 2
    return tmp_path / "features"


def get(recordings: list[Recording], cache: Path, **about: str) -> FeatureStore:
    return extract(recordings, SETTINGS, cache, progress=False, **about)


def values(store: FeatureStore) -> list[list[float]]:
    return [store[index].ravel().tolist() for index in range(len(store))]


def edit(cache: Path, statement: str) -> None:
    with closing(sqlite3.connect(cache / INDEX_NAME, isolation_level=None)) as database:
        database.execute(statement)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the listings that are read."""
    names: list[str] = []
    whole = Listing.read.__func__

    def reading(cls: type[Listing], file: Path) -> Listing:
        names.append(file.name)
        return whole(cls, file)

    monkeypatch.setattr(Listing, "read", classmethod(reading))
    return names


def computed(cache: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in cache.glob("*.npy")}


def test_only_the_listings_of_wanted_packs_are_read(
    cache: Path, recordings: list[Recording], read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PackIndex, "take_up", lambda self: pytest.fail("the folder was listed"))
    store = get(recordings[3:4], cache)
    assert len(store) == 1
    assert len(read) == 1


def test_a_listing_is_taken_up_once(cache: Path, recordings: list[Recording], read: list[str]) -> None:
    (cache / INDEX_NAME).unlink()
    keys = [entry_key(sound.digest, SETTINGS) for sound in recordings]
    packs = len(list(cache.glob("*.json")))
    assert len(find(cache, keys).places) == CLIPS
    assert len(read) == 2 * packs  # to be taken up, and to look at the checksum
    find(cache, keys)
    assert len(read) == 3 * packs
    assert find(cache, ["0" * 64]).places == {}
    assert len(read) == 3 * packs


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def scramble(file: Path) -> None:
    """Change the pages that hold the tables, not the header that says that it is a database."""
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda file: file.write_bytes(b"x" * 20_000),
    "cut in half": cut_in_half,
    "scrambled": scramble,
    "another version": lambda file: edit(file.parent, "PRAGMA user_version = 77"),
    "no table": lambda file: edit(file.parent, "DROP TABLE entries"),
    "empty of entries": lambda file: edit(file.parent, "DELETE FROM entries"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew_with_one_line(
    cache: Path, recordings: list[Recording], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    before = values(get(recordings, cache))
    capsys.readouterr()
    DAMAGES[damage](cache / INDEX_NAME)
    assert values(get(recordings, cache)) == before
    said = capsys.readouterr().err
    assert said.startswith(f"note: the index of the features in {cache} ")
    assert said.endswith(": made anew of the listings\n")
    assert said.count("\n") == 1
    get(recordings, cache)
    assert capsys.readouterr().err == ""


def test_a_lost_index_costs_nothing_but_time(
    cache: Path, recordings: list[Recording], capsys: pytest.CaptureFixture[str]
) -> None:
    before, packs = values(get(recordings, cache)), computed(cache)
    (cache / INDEX_NAME).unlink()
    assert values(get(recordings, cache)) == before
    assert computed(cache) == packs
    assert capsys.readouterr().err == ""


def test_an_index_that_lies_leads_to_no_wrong_feature(cache: Path, recordings: list[Recording]) -> None:
    before = values(get(recordings, cache))
    edit(cache, "UPDATE OR IGNORE entries SET pack = 1 + pack % (SELECT count(*) FROM packs)")
    assert values(get(recordings, cache)) == before
    edit(cache, "UPDATE packs SET name = 'nowhere.json' WHERE id = 1")
    assert values(get(recordings, cache)) == before


def test_packs_of_another_machine_are_taken_up(cache: Path, recordings: list[Recording], tmp_path: Path) -> None:
    here = tmp_path / "here" / "features"
    get(recordings[:1], here)
    for file in [*cache.glob("*.npy"), *cache.glob("*.json")]:
        shutil.copy(file, here)
    packs = computed(here)
    assert values(get(recordings, here)) == values(get(recordings, cache))
    assert computed(here) == packs


def test_packs_of_earlier_versions_are_taken_up(cache: Path, recordings: list[Recording]) -> None:
    for file in cache.glob("*.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({name: content[name] for name in ("keys", "broken", "checksum")}))
    (cache / INDEX_NAME).unlink()
    packs = computed(cache)
    get(recordings, cache)
    assert computed(cache) == packs
    assert {pack.about for pack in with_index(cache, PackIndex.packs)} == {About()}


def test_packs_that_were_removed_by_hand_are_let_go_of(cache: Path, recordings: list[Recording]) -> None:
    before = values(get(recordings, cache))
    gone = min(cache.glob("*.json"))
    gone.unlink()
    gone.with_suffix(".npy").unlink()
    assert values(get(recordings, cache)) == before
    with_index(cache, PackIndex.take_up)
    assert [pack.name for pack in with_index(cache, PackIndex.packs)] == sorted(f.name for f in cache.glob("*.json"))


def test_a_locked_index_is_done_without(
    cache: Path, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, packs = values(get(recordings, cache)), computed(cache)
    monkeypatch.setattr(pack_index, "_BUSY_SECONDS", 0.0)
    with closing(sqlite3.connect(cache / INDEX_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            assert values(get(recordings, cache)) == before
    assert computed(cache) == packs
    said = capsys.readouterr().err
    assert (
        said == f"note: the index of the features in {cache} cannot be used (database is locked): all listings are"
        " read\n"
    )


def test_what_packs_are_of_and_who_used_them_is_known(cache: Path, recordings: list[Recording]) -> None:
    quieter = LogMelSettings(8000, n_fft=128, hop_length=64, n_mels=8)
    for study in ("one", "two", "one"):
        extract(recordings[:1], quieter, cache, progress=False, label="noise", data="tau", study=study)
    get(recordings[:1], cache, study="two")
    packs, studies = with_index(cache, lambda index: (index.packs(), index.studies()))
    (new,) = [pack for pack in packs if pack.about.label == "noise"]
    assert new.about == About(quieter.canonical_json(), "tau", "noise")
    assert new.clips == 1
    assert sum(pack.clips for pack in packs) == CLIPS + 1
    assert studies.pop(new.name) == {"one", "two"}
    assert list(studies.values()) == [{"two"}]


def test_the_time_of_a_listing_says_when_its_pack_was_used(cache: Path, recordings: list[Recording]) -> None:
    old = time.time() - 3 * 86_400
    for file in cache.iterdir():
        os.utime(file, (old, old))
    get(recordings[:1], cache)
    used = [file for file in cache.glob("*.json") if file.stat().st_mtime > old + 1]
    assert len(used) == 1
    assert used[0].with_suffix(".npy").stat().st_mtime == pytest.approx(old)  # when it was made


def test_what_another_process_takes_up_between_two_looks_is_found(
    cache: Path, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nothing is new in the folder does not say that nothing is new in the index."""
    take_up = PackIndex.take_up

    def after_another(index: PackIndex) -> list[Path] | None:
        with_index(cache, take_up)
        return take_up(index)

    (cache / INDEX_NAME).unlink()
    monkeypatch.setattr(PackIndex, "take_up", after_another)
    keys = [entry_key(one.digest, SETTINGS) for one in recordings]
    assert len(find(cache, keys).places) == CLIPS
