"""Feature extraction in clips/s, with one and two processes, against a loop like the authors'.

Run with ``python benchmarks/bench_features.py``. Clips are 10 s of noise, 44.1 kHz, mono, 24 bit, as in Task 1a. The
loop reads a clip, calls librosa's ``melspectrogram``, takes the logarithm, scales and writes one file a clip. Workers
are started, and the audio files are in the system's cache, before the clock runs; figures are medians. The linear
algebra library gets one thread, or the loop would depend on what else the machine does.
"""

import hashlib
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import librosa
import numpy as np
import soundfile
from measured import keep

from asc_study.features.audio import Recording
from asc_study.features.logmel import LogMelSettings
from asc_study.features.store import extract

CLIPS, SECONDS, SAMPLE_RATE = 256, 10, 44_100
ROUNDS = 5


def write_noise(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.wav" for index in range(CLIPS)]
    for path in paths:
        noise = 0.1 * rng.standard_normal(SECONDS * SAMPLE_RATE)
        soundfile.write(path, noise, SAMPLE_RATE, subtype="PCM_24")
    return paths


def authors_loop(paths: list[Path], target: Path) -> None:
    target.mkdir()
    for path in paths:
        waveform, rate = soundfile.read(path, stop=SECONDS * SAMPLE_RATE)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=rate, n_fft=2048, hop_length=1024, n_mels=128, fmin=0.0, fmax=rate / 2, htk=True, norm=None
        )
        log_mel = np.log(mel[..., np.newaxis].astype(np.float32) + np.float32(1e-8))
        scaled = (log_mel - log_mel.min()) / (log_mel.max() - log_mel.min())
        with (target / f"{path.stem}.logmel").open("wb") as file:
            pickle.dump({"feat_data": scaled}, file, protocol=pickle.HIGHEST_PROTOCOL)


def main() -> None:
    settings = LogMelSettings(SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_noise(folder)

        def ours(jobs: int) -> Callable[[list[Path], Path], object]:
            def run(chosen: list[Path], target: Path) -> object:
                sounds = [Recording(path, hashlib.sha256(str(path).encode()).hexdigest()) for path in chosen]
                return extract(sounds, settings, target, jobs=jobs, progress=False)

            return run

        contenders = {"authors' loop, one process": authors_loop, "ours, one process": ours(1), "ours, two": ours(2)}
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for name, run in contenders.items():
            run(paths, folder / f"warm-up {name}")
        for repeat in range(ROUNDS):
            for name, run in contenders.items():
                start = time.perf_counter()
                run(paths, folder / f"{repeat} {name}")
                seconds[name].append(time.perf_counter() - start)

    rates = {name: CLIPS / statistics.median(times) for name, times in seconds.items()}
    theirs = next(iter(rates.values()))
    print(f"{'feature extraction':<30}{'clips/s':>10}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:<30}{rate:>10.0f}{rate / theirs:>8.1f}")
    print(keep("features", [(name, rate, "clips/s") for name, rate in rates.items()]))


if __name__ == "__main__":
    main()
