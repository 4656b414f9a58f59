"""Files of embeddings: what is read of them, how they get into the cache, and every damage as one line."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asc_study.base.errors import InputError
from asc_study.features import embeddings as embeddings_module
from asc_study.features.embeddings import embedding_store, missing_bytes, read_embeddings
from asc_study.features.tidying import feature_groups
from asc_study.study.tidying_forms import describe_settings

CLIPS = ["park-lisbon-1-2-a", "bus-milan-3-4-b", "tram-lisbon-5-6-s1"]
VALUES = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


def save(path: Path | str = "e.npz", compressed: bool = False, **changed: object) -> Path:
    arrays = {"clip_id": np.array(CLIPS), "embeddings": VALUES, "name": "openl3-music", "version": "0.4.2"} | changed
    write = np.savez_compressed if compressed else np.savez
    write(path, **{key: value for key, value in arrays.items() if value is not None})
    return Path(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4"])
def test_clips_come_out_of_the_cache_as_they_were_saved(tmp_path: Path, compressed: bool, dtype: str) -> None:
    path = save(compressed=compressed, embeddings=VALUES.astype(dtype))
    store = embedding_store(path, CLIPS[::-1], tmp_path / "features")
    assert len(store) == 3
    assert store.shape == store.input_shape == (4, 5, 1)
    assert store.dtype == np.dtype(dtype).newbyteorder("=")
    for number, clip in enumerate(VALUES[::-1]):
        np.testing.assert_array_equal(store[number][:, :, 0], clip.astype(dtype).T)
        assert store.network_input(number).dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        store[0][...] = 0


def test_one_embedding_a_clip_is_one_frame(tmp_path: Path) -> None:
    path = save(embeddings=VALUES[:, 0])
    assert read_embeddings(path).shape == (4, 1, 1)
    np.testing.assert_array_equal(embedding_store(path, CLIPS, tmp_path / "features")[1][:, 0, 0], VALUES[1, 0])


def test_files_of_clips_are_clips_whatever_their_folder() -> None:
    names = [f"audio/{CLIPS[0]}.wav", f"C:\\sound\\{CLIPS[1]}.FLAC", f"{CLIPS[2]}"]
    assert list(read_embeddings(save(clip_id=np.array(names))).digests) == CLIPS
    assert "v1.2-a" in read_embeddings(save(clip_id=np.array(["v1.2-a", "b", "c"]))).digests


def test_the_digest_is_of_the_contents_alone(tmp_path: Path) -> None:
    """Neither place, nor order, nor compression; but values, their type, names of clips, name and version."""
    same = [
        save(),
        save(tmp_path / "elsewhere.npz"),
        save("compressed.npz", compressed=True),
        save("turned.npz", clip_id=np.array(CLIPS[::-1]), embeddings=VALUES[::-1]),
        save("bytes.npz", clip_id=np.array(CLIPS, "S")),
    ]
    assert len({read_embeddings(path).digest for path in same}) == 1
    nudged = VALUES.copy()
    nudged[2, 4, 3] = np.nextafter(nudged[2, 4, 3], 9)
    others = [
        save("a.npz", embeddings=nudged),
        save("b.npz", embeddings=VALUES.astype(np.float16)),
        save("c.npz", embeddings=VALUES.reshape(3, 4, 5)),
        save("d.npz", clip_id=np.array([*CLIPS[:2], "another"])),
        save("e2.npz", name="openl3-env"),
        save("f.npz", version="0.5"),
    ]
    assert len({read_embeddings(path).digest for path in [same[0], *others]}) == 7


def test_a_settled_file_is_read_once_and_a_changed_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_module, "_SETTLED_NS", -1)
    opened: list[Path] = []
    really = embeddings_module.opened_embeddings
    monkeypatch.setattr(embeddings_module, "opened_embeddings", lambda path: opened.append(path) or really(path))
    path = save()
    first = read_embeddings(path)
    embeddings_module._kept.cache_clear()  # as another process
    assert read_embeddings(path) == first
    assert len(opened) == 1
    save("new.npz", embeddings=VALUES + 1).replace(path)
    assert read_embeddings(path).digest != first.digest
    assert len(opened) == 2
    (remembered,) = (Path(os.environ["ASC_STUDY_CACHE"]) / "embeddings").iterdir()
    remembered.write_text(remembered.read_text().replace("openl3", "opexl3"))
    embeddings_module._kept.cache_clear()
    assert read_embeddings(path).name == "openl3-music"  # what a disk changed is not believed
    assert len(opened) == 3


def test_a_file_that_just_changed_is_not_remembered() -> None:
    read_embeddings(save())
    assert not (Path(os.environ["ASC_STUDY_CACHE"]) / "embeddings").exists()


def test_what_the_cache_holds_is_not_written_again_and_more_clips_are_added(tmp_path: Path) -> None:
    cache = tmp_path / "features"
    path = save()
    found = read_embeddings(path)
    assert missing_bytes(found, CLIPS, cache) == VALUES.nbytes
    embedding_store(path, CLIPS[:2], cache, data="sim", study="mine")
    assert missing_bytes(found, CLIPS, cache) == VALUES.nbytes // 3
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*.npy")}
    elsewhere = save(tmp_path / "moved.npz", compressed=True)
    store = embedding_store(elsewhere, CLIPS, cache, data="sim")
    np.testing.assert_array_equal(store[2][:, :, 0], VALUES[2].T)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(list(cache.glob("*.npy"))) == 2
    (group,) = feature_groups(cache)
    assert (group.clips, group.about.data, group.about.label, group.in_use) == (3, "sim", "embeddings", True)
    assert describe_settings(group.about.settings) == "openl3-music 0.4.2, 5 x 4 values, float32"


def test_many_clips_share_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_module, "_CLIPS_PER_PACK", 2)
    store = embedding_store(save(), CLIPS, tmp_path / "features")
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2
    np.testing.assert_array_equal([store[number][:, :, 0].T for number in range(3)], VALUES)


def test_clips_of_equal_values_share_an_entry(tmp_path: Path) -> None:
    store = embedding_store(save(embeddings=np.stack([VALUES[0]] * 3)), CLIPS, tmp_path / "features")
    np.testing.assert_array_equal(store[2], store[0])


def test_a_clip_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"for every clip, got none for 1 of 4, such as 'gone', in e\.npz: add them"):
        embedding_store(save(), [*CLIPS, "gone"], tmp_path / "features")
    assert not (tmp_path / "features").exists()


def objects(*parts: object) -> np.ndarray:
    made = np.empty(len(parts), object)
    made[:] = parts
    return made


def with_nan(clip: int, value: float) -> np.ndarray:
    changed = VALUES.copy()
    changed[clip, 1, 2] = value
    return changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": None}, "must hold clip_id, embeddings, name and version, got clip_id, name, version without e"),
        ({"clip_id": None}, "got embeddings, name, version without clip_id .*numpy.savez"),
        ({"name": None}, "without name"),
        ({"version": None}, "without version"),
        ({"embeddings": objects(*VALUES)}, "`embeddings` must be a plain array.* objects .*: give all clips"),
        ({"clip_id": objects(*CLIPS)}, "`clip_id` must be a plain array.*pickles.*: save texts"),
        ({"name": objects("x")}, "`name` must be a plain array"),
        ({"embeddings": VALUES.astype(float)}, r"must be float16 or float32, got float64 in e\.npz: .*astype"),
        ({"embeddings": VALUES.astype(int)}, "must be float16 or float32, got int64"),
        ({"embeddings": VALUES.astype(complex)}, "must be float16 or float32, got complex128"),
        ({"embeddings": VALUES[0, 0]}, r"must have the axes clips, frames and values.*got \(4,\)"),
        ({"embeddings": VALUES[..., None]}, r"axes clips, frames and values.*got \(3, 5, 4, 1\)"),
        ({"embeddings": VALUES[:, :0]}, r"none of them empty, got \(3, 0, 4\)"),
        ({"embeddings": np.asfortranarray(VALUES)}, "saved row by row, got Fortran's order.*ascontiguousarray"),
        ({"embeddings": VALUES[:2]}, "a line for each `clip_id`, got 2 and 3"),
        ({"embeddings": with_nan(1, np.nan)}, "finite numbers, got NaN or infinity of the clip 'bus-milan-3-4-b'"),
        ({"embeddings": with_nan(2, -np.inf)}, "finite numbers, got NaN or infinity of the clip 'tram-lisbon-5-6-s1'"),
        ({"clip_id": np.array([*CLIPS[:2], CLIPS[0]])}, "name each clip once, got 'park-lisbon-1-2-a' twice"),
        ({"clip_id": np.array(["x.wav", "a/x.wav", "y"])}, "name each clip once, got 'x' twice"),
        ({"clip_id": np.array(CLIPS)[:, None]}, r"a list of at least one clip, got the shape \(3, 1\)"),
        ({"clip_id": np.array([], str), "embeddings": VALUES[:0]}, "a list of at least one clip"),
        ({"clip_id": np.arange(3)}, "`clip_id` must be text, got int64"),
        ({"name": ""}, "`name` must be a text of one line and at most 100 characters, got"),
        ({"version": "1\n2"}, "`version` must be a text of one line"),
        ({"version": 2.0}, "`version` must be text, got float64"),
        ({"name": np.array(["a", "b"])}, r"`name` must be a text of one line.*got \['a', 'b'\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_embeddings(save(**changed))
    assert "\n" not in str(caught.value)
    assert "e.npz" in str(caught.value)


def rezip(path: Path, **members: bytes) -> Path:
    """Exchange members of an archive."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (content | {f"{key}.npy": data for key, data in members.items()}).items():
            archive.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def flipped(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.tobytes()) + 7] ^= 1
    path.write_bytes(content)
    return path


def written(content: bytes) -> Path:
    Path("e.npz").write_bytes(content)
    return Path("e.npz")


DAMAGE: dict[str, tuple[Callable[[], Path], str]] = {
    "no file": (lambda: Path("gone.npz"), r"the file of embeddings gone\.npz does not exist: name an \.npz file"),
    "a folder": (lambda: Path("."), "a file of embeddings must be a regular file, got a folder"),
    "an .npy": (lambda: written(npy(VALUES)), r"must be an \.npz of NumPy.*not a zip file"),
    "a flipped bit": (lambda: flipped(save()), "cannot be read .*CRC"),
    "cut off": (lambda: written(save().read_bytes()[:-99]), "cannot be read"),
    "fewer values": (
        lambda: rezip(save(), embeddings=npy(VALUES)[:-4]),
        "must be as long as its header says, got 236 bytes of 240",
    ),
    "more values": (lambda: rezip(save(), embeddings=npy(VALUES) + b"1234"), "got 244 bytes of 240"),
    "a header that promises much": (lambda: rezip(save(), embeddings=header((3, 2**40, 2**20))), "header says, got 0"),
    "a header that overflows": (lambda: rezip(save(), embeddings=header((3, 2**62, 4))), "header says, got 0"),
    "a long list of clips": (lambda: rezip(save(), clip_id=header((2**40,), "<U9")), "`clip_id` must be as long as"),
    "no header": (lambda: rezip(save(), embeddings=b"PK"), "cannot be read"),
    "a header of code": (
        lambda: rezip(save(), embeddings=b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('x')    \n"),
        "cannot be read",
    ),
    "another format of arrays": (
        lambda: rezip(save(), name=b"\x93NUMPY\x03\x00" + npy(np.array("x"))[8:]),
        r"must be an array of numbers or texts, got one of format \(3, 0\)",
    ),
    "records": (
        lambda: rezip(save(), embeddings=npy(np.zeros(3, [("a", "<f4")]))),
        "must be float16 or float32",
    ),
    "bytes that are no text": (lambda: rezip(save(), name=npy(np.array(b"\xff"))), "cannot be read"),
    "a zip bomb": (
        lambda: rezip(save(), embeddings=npy(np.zeros((3, 2**21, 4), np.float32))),
        r"may be at most 100 times as large as in the archive, got 96 MB of .* kB in e\.npz: save real values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_is_one_line(damage: str) -> None:
    make, message = DAMAGE[damage]
    with pytest.raises(InputError, match=message) as caught:
        read_embeddings(make())
    assert "\n" not in str(caught.value)


def test_no_pickle_is_opened() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, ("touched", "w")

    with pytest.raises(InputError, match="plain array"):
        read_embeddings(save(embeddings=objects(Evil(), Evil(), Evil())))
    assert not Path("touched").exists()


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save()
    before = read_embeddings(path)
    save(embeddings=VALUES + 1)
    monkeypatch.setattr(embeddings_module, "read_embeddings", lambda *_, **__: before)
    with pytest.raises(InputError, match=r"e\.npz changed while it was read: run again"):
        embedding_store(path, CLIPS, tmp_path / "features")
