"""Copies in clips/s that every waveform augmentation makes with their features, in one process.

Run with ``python benchmarks/bench_augmentation.py``. Clips are 10 s of noise, 44.1 kHz, mono, 24 bit, as in Task 1a;
settings are the defaults. A copy is read, augmented, turned into log-mel features and written. What all copies share
(impulse responses, the correction's curve) is prepared once, and its seconds stand in a column of their own. The audio
files are in the system's cache, and what a library prepares at its first call is prepared; figures are medians.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import soundfile
from measured import Figure, keep

from asc_study.augmentation import WAVEFORM_AUGMENTATIONS
from asc_study.augmentation.copies import plan_copies
from asc_study.augmentation.waveform import TrainingSound
from asc_study.data.identity import audio_digests
from asc_study.features.audio import Recording, Sound
from asc_study.features.logmel import LogMelSettings
from asc_study.features.store import extract

SCENES, SEGMENTS, DEVICES = ("bus", "tram"), range(8), ("a", "b")
SECONDS, SAMPLE_RATE = 10, 44_100
ROUNDS = 5


def write_noise(folder: Path) -> TrainingSound:
    rng = np.random.default_rng(0)
    rows = []
    for scene, segment, device in ((s, g, d) for s in SCENES for g in SEGMENTS for d in DEVICES):
        clip_id = f"{scene}-oslo-1-{segment}-{device}"
        path = folder / f"{clip_id}.wav"
        noise = 0.1 * rng.standard_normal(SECONDS * SAMPLE_RATE)
        soundfile.write(path, noise, SAMPLE_RATE, subtype="PCM_24")
        rows.append((clip_id, str(path), scene, device, "train"))
    clips = pd.DataFrame(rows, columns=["clip_id", "path", "scene", "device", "split"])
    cache = folder / "cache"
    return TrainingSound(clips, audio_digests(clips["path"].tolist(), cache=cache), SAMPLE_RATE, cache)


def main() -> None:
    settings = LogMelSettings(SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = write_noise(folder)
        paths = [Path(path) for path in sound.clips["path"]]
        recordings = [Recording(path, digest) for path, digest in zip(paths, sound.digests, strict=True)]
        contenders: dict[str, tuple[float, Sequence[Sound]]] = {"none": (0.0, recordings)}
        for augmentation in WAVEFORM_AUGMENTATIONS:
            start = time.perf_counter()
            ((_, copies),) = plan_copies({augmentation: {}}, sound)
            contenders[augmentation] = (time.perf_counter() - start, copies)

        number = count()

        def seconds(sounds: Sequence[Sound]) -> float:
            start = time.perf_counter()
            extract(sounds, settings, folder / f"features-{next(number)}", progress=False)
            return (time.perf_counter() - start) / len(sounds)

        for _, sounds in contenders.values():
            seconds(sounds[:2])
        taken = {augmentation: [0.0] * ROUNDS for augmentation in contenders}
        for repeat in range(ROUNDS):
            for augmentation, (_, sounds) in contenders.items():
                taken[augmentation][repeat] = seconds(sounds)

    found: list[Figure] = []
    print(f"{'waveform augmentation':<24}{'prepare, s':>12}{'clips/s':>10}{'ms/clip':>10}")
    for augmentation, (prepared, _) in contenders.items():
        median = statistics.median(taken[augmentation])
        print(f"{augmentation:<24}{prepared:>12.2f}{1 / median:>10.1f}{1000 * median:>10.1f}")
        found += [(f"{augmentation}, prepared once", prepared, "s"), (augmentation, 1 / median, "clips/s")]
    print(keep("augmentation", found))


if __name__ == "__main__":
    main()
