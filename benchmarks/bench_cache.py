"""Finding features in a big cache, by its index and by reading every listing, in seconds.

Run with ``python benchmarks/bench_cache.py [SETTINGS]``. The cache holds packs of 100 feature settings, 256 of each, of
four tiny clips: 25,600 listings. What is wanted are all clips of one setting. Medians; the files are in the system's
cache, and a pack's checksum is computed anew each time, as a fresh process does.
"""

import hashlib
import json
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measured import keep

from asc_study.features import listing
from asc_study.features.pack_index import INDEX_NAME
from asc_study.features.packs import find

PACKS, CLIPS = 256, 4
ROUNDS = 5


def fill(cache: Path, settings: int) -> list[list[str]]:
    """Write a cache; returns the keys of each setting."""
    features = np.zeros((CLIPS, 2, 2, 1), np.float16)
    np.save(cache / "first.npy", features)
    content = (cache / "first.npy").read_bytes()
    (cache / "first.npy").unlink()
    found = []
    for setting in range(settings):
        keys = sorted(hashlib.sha256(f"{setting} {clip}".encode()).hexdigest() for clip in range(PACKS * CLIPS))
        for start in range(0, len(keys), CLIPS):
            own = keys[start : start + CLIPS]
            checksum = zlib.crc32(json.dumps([own, {}]).encode(), zlib.crc32(content))
            pack = cache / f"{hashlib.sha256(' '.join(own).encode()).hexdigest()}.npy"
            pack.write_bytes(content)
            text = json.dumps({"keys": own, "broken": {}, "checksum": f"{checksum:08x}"})
            listing.listing_of(pack).write_text(text)
        found.append(keys)
    return found


def read_all(cache: Path, wanted: list[str]) -> int:
    """As it was without an index: every listing of the folder is read, and the packs that hold what is wanted."""
    places, wanted_keys = {}, set(wanted)
    for file in sorted(cache.glob("*.json")):
        read = listing.Listing.read(file)
        rows = {key: row for row, key in enumerate(read.keys) if key in wanted_keys}
        if rows and read.is_true_of(file.with_suffix(".npy")):
            np.load(file.with_suffix(".npy"), mmap_mode="r")
            places.update(rows)
    return len(places)


def seconds(call: Callable[[], int], expected: int, rounds: int = ROUNDS) -> float:
    """Median over rounds, of which each begins without checksums in memory."""
    times = []
    for _ in range(rounds):
        listing._file_checksum.cache_clear()
        start = time.perf_counter()
        if (got := call()) != expected:
            raise SystemExit(f"{expected} clips were to be found, got {got}")
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    settings = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        keys = fill(cache, settings)
        wanted = keys[settings // 2]
        nowhere = [hashlib.sha256(key.encode()).hexdigest() for key in wanted]

        def by_index(keys: list[str]) -> int:
            return len(find(cache, keys).places)

        lines = [("every listing read", seconds(lambda: read_all(cache, wanted), len(wanted)))]
        lines.append(("the index made anew", seconds(lambda: by_index(wanted), len(wanted), rounds=1)))
        lines.append(("by the index", seconds(lambda: by_index(wanted), len(wanted))))
        lines.append(("by the index, none is there", seconds(lambda: by_index(nowhere), 0)))
        size = (cache / INDEX_NAME).stat().st_size / 2**20
        print(f"{settings * PACKS:,} listings, {len(wanted):,} clips wanted; the index has {size:.1f} MB")
        for what, took in lines:
            print(f"{what:<30}{took:>8.3f} s")
        of = f", {settings * PACKS:,} listings"
        print(keep("cache", [(what + of, took, "s") for what, took in lines] + [(f"the index{of}", size, "MiB")]))


if __name__ == "__main__":
    main()
