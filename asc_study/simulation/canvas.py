"""The sources that scenes are made of, and the canvas they play on.

Noise-like sources add power to one time-frequency map, which becomes noise in one inverse transform; tonal sources add
waveforms. That keeps a segment with ten sources at a few milliseconds.

Conventions: levels are in dB relative to the scene's bed (root mean square 1); times are in seconds from the start of
the segment; every draw comes from the canvas's generator.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

FRAME: Final = 1024
HOP: Final = FRAME // 2
_TABLE: Final = 4096

# Complex normal numbers of power 1 to pick from, which takes a quarter of the time of drawing new ones.
_NORMAL: Final = np.random.default_rng(0).standard_normal((1 << 16, 2), dtype=np.float32).view(np.complex64)[:, 0] / (
    np.float32(math.sqrt(2))
)


class Canvas:
    """Collects the sources of one segment.

    Attributes
    ----------
    sample_rate, samples, channels
        Format of the segment.
    seconds
        Its length.
    frames, times
        Number of frames of the noise map and where they lie, in seconds.
    hz
        Frequencies of the noise map, shape ``(FRAME // 2 + 1,)``.
    rng
        Where everything is drawn from.
    """

    def __init__(self, sample_rate: int, samples: int, channels: int, rng: np.random.Generator) -> None:
        self.sample_rate, self.samples, self.channels, self.rng = sample_rate, samples, channels, rng
        self.seconds = samples / sample_rate
        self.frames = samples // HOP + 2
        self.times = np.arange(self.frames) * HOP / sample_rate
        self.hz = fft.rfftfreq(FRAME, 1 / sample_rate)
        self._power = np.zeros((self.frames, len(self.hz)), dtype=np.float32)
        self._tones = np.zeros((samples, channels), dtype=np.float32)

    def add_noise(self, envelope: NDArray[np.float64], spectrum: NDArray[np.float64], level_db: float) -> None:
        """Add noise: power over ``times`` (1 = the level) times a power spectrum over ``hz`` (of any scale)."""
        scale = 10 ** (level_db / 10) / spectrum.sum()
        self._power += np.outer(envelope, scale * spectrum).astype(np.float32)

    def add_tone(self, wave: NDArray[np.float32], level_db: float, start_seconds: float = 0.0) -> None:
        """Add a waveform of root mean square 1 or so, from a random direction; what lies outside the segment is cut."""
        pan = self.rng.uniform(0.3, 0.7)
        gains = np.sqrt([2 * pan, 2 * (1 - pan)]) if self.channels == 2 else np.ones(self.channels)
        start = round(start_seconds * self.sample_rate)
        wave = wave[max(-start, 0) : max(self.samples - start, 0)]
        start = max(start, 0)
        scaled = wave[:, np.newaxis] * (10 ** (level_db / 20) * gains).astype(np.float32)
        self._tones[start : start + len(wave)] += scaled

    def render(self) -> NDArray[np.float32]:
        """Return the sum of everything, shape ``(samples, channels)``."""
        magnitude = np.sqrt(self._power, out=self._power)
        magnitude *= FRAME / math.sqrt(2)
        noise = np.stack([self._noise(magnitude) for _ in range(self.channels)], axis=1)
        return noise + self._tones

    def _noise(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Draw noise with this magnitude map (overlap-add of sine windows, whose squares sum to one)."""
        draws = _NORMAL[self.rng.integers(len(_NORMAL), size=magnitude.shape, dtype=np.uint16)] * magnitude
        window = np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME).astype(np.float32)
        halves = (fft.irfft(draws, axis=1) * window).reshape(self.frames, 2, HOP)
        return np.asarray((halves[1:, 0] + halves[:-1, 1]).reshape(-1)[: self.samples])

    def periodic(
        self, pitch_hz: NDArray[np.float64], harmonics: Sequence[float] | NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return a wave of root mean square 1 with a pitch (one value a frame) and the amplitudes of its harmonics."""
        spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
        phases = self.rng.uniform(0, 2 * np.pi, len(harmonics))
        spectrum[1 : len(harmonics) + 1] = np.asarray(harmonics) * np.exp(1j * phases)
        table = fft.irfft(spectrum)
        table = (table / table.std()).astype(np.float32)
        per_sample = self.at_samples(pitch_hz) * (_TABLE / self.sample_rate)
        index = np.cumsum(per_sample).astype(np.int64) & (_TABLE - 1)
        return np.asarray(table[index])

    def at_samples(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate values at ``times`` to every sample."""
        steps = np.arange(HOP) / HOP
        return (values[:-1, np.newaxis] + np.diff(values)[:, np.newaxis] * steps).reshape(-1)[: self.samples]

    def band(self, low_hz: float, high_hz: float) -> NDArray[np.float64]:
        """Return a power spectrum over ``hz`` that is flat in a band and falls by 12 dB per octave outside it."""
        octaves = np.log2(np.maximum(self.hz, 20.0))
        outside = np.maximum(math.log2(low_hz) - octaves, 0) + np.maximum(octaves - math.log2(high_hz), 0)
        return np.asarray(10 ** (-1.2 * outside), dtype=np.float64)

    def smooth(self, rate_hz: float) -> NDArray[np.float64]:
        """Return a random curve over ``times``: mean 0, deviation 1, ``rate_hz`` turns a second."""
        nodes = np.arange(0, self.times[-1] + 2 / rate_hz, 1 / rate_hz)
        return np.interp(self.times + self.rng.uniform(0, 1 / rate_hz), nodes, self.rng.standard_normal(len(nodes)))


def bursts(
    canvas: Canvas,
    *,
    level_db: float,
    rate_hz: float,
    low_hz: float,
    high_hz: float,
    decay_seconds: float,
    pair_seconds: float = 0.0,
) -> None:
    """Play short decaying noises at a nearly steady rate: steps, rattles, luggage wheels, rail joints (in pairs)."""
    rng = canvas.rng
    period = 1 / (rate_hz * rng.uniform(0.88, 1.14))
    starts = np.arange(-rng.uniform(0, period), canvas.seconds, period)
    starts += rng.normal(0, 0.04 * period, len(starts))
    if pair_seconds:
        starts = np.concatenate([starts, starts + pair_seconds])
    loudness = rng.uniform(0.4, 1.0, len(starts))
    since = canvas.times[:, np.newaxis] - starts
    envelope = (np.where(since >= 0, np.exp(-np.maximum(since, 0) / decay_seconds), 0.0) * loudness).sum(axis=1)
    shift = 2 ** rng.uniform(-0.3, 0.3)
    canvas.add_noise(envelope * 4, canvas.band(low_hz * shift, high_hz * shift), level_db)


def murmur(canvas: Canvas, *, level_db: float, voices: int) -> None:
    """Play babble: noise in formant bands, each voice with its own syllables."""
    for _ in range(voices):
        syllables = np.clip(0.3 + canvas.smooth(canvas.rng.uniform(6, 10)), 0, None) ** 2
        formant = canvas.rng.uniform(300, 900)
        spectrum = canvas.band(formant * 0.7, formant * 1.4) + 0.3 * canvas.band(formant * 2.5, formant * 4.5)
        canvas.add_noise(syllables, spectrum, level_db - 10 * math.log10(voices))


def speech(canvas: Canvas, *, level_db: float, low_hz: float, high_hz: float) -> None:
    """Play one voice with a pitch contour, near or through loudspeakers (the band says which)."""
    rng = canvas.rng
    pitch = rng.uniform(100, 220) * 2 ** (0.15 * canvas.smooth(3.0))
    syllables = np.clip(0.5 + canvas.smooth(8.0), 0, 1.5)
    phrase = np.clip(0.7 + canvas.smooth(0.9), 0, 1)
    harmonics = np.arange(1, 41)
    middle = 160.0 * harmonics
    amplitudes = harmonics**-0.7 / (1 + (low_hz / middle) ** 4) / (1 + (middle / high_hz) ** 4)
    amplitudes *= 0.25 + rng.random(len(harmonics))
    canvas.add_tone(
        canvas.periodic(pitch, amplitudes) * canvas.at_samples(syllables * phrase).astype(np.float32), level_db
    )


def engine(canvas: Canvas, *, level_db: float, pitch_hz: tuple[float, float], glide_octaves: float) -> None:
    """Play a combustion engine: many harmonics of a low pitch that rises, and falls back at a change of gear."""
    rng = canvas.rng
    period = rng.uniform(1.5, 4.0)
    in_gear = ((canvas.times + rng.uniform(0, period)) / period) % 1
    pitch = rng.uniform(*pitch_hz) * 2 ** (glide_octaves * in_gear + 0.03 * canvas.smooth(4.0))
    amplitudes = np.arange(1, 41) ** -0.6 * (0.2 + rng.random(40))
    canvas.add_tone(canvas.periodic(pitch, amplitudes), level_db)


def whine(
    canvas: Canvas, *, level_db: float, start_hz: tuple[float, float], glide_octaves: float, harmonics: int
) -> None:
    """Play an electric motor that speeds up (or brakes, for a negative glide), or wheels that squeal."""
    rng = canvas.rng
    shape = np.clip((canvas.times - rng.uniform(-0.3, 0.3) * canvas.seconds) / canvas.seconds, 0, 1)
    pitch = rng.uniform(*start_hz) * 2 ** (glide_octaves * rng.uniform(0.6, 1.2) * shape + 0.01 * canvas.smooth(5.0))
    loudness = 0.6 + 0.4 * np.clip(canvas.smooth(1.0), -1, 1)
    wave = canvas.periodic(pitch, 1 / np.arange(1, harmonics + 1))
    canvas.add_tone(wave * canvas.at_samples(loudness).astype(np.float32), level_db)


def pass_by(canvas: Canvas, *, level_db: float, seconds: tuple[float, float]) -> None:
    """Play a vehicle that passes: tyre noise that swells and fades, and an engine whose pitch falls as it passes."""
    rng = canvas.rng
    nearest = rng.uniform(0, canvas.seconds)
    distance = (canvas.times - nearest) / (rng.uniform(*seconds) / 2)
    swell = 1 / (1 + distance**2)
    canvas.add_noise(1.5 * swell**1.5, canvas.band(300 * 2 ** rng.uniform(-0.5, 0.5), 1_800), level_db)
    doppler = 1 - 0.06 * distance / np.sqrt(1 + distance**2)
    wave = canvas.periodic(rng.uniform(50, 90) * doppler, np.arange(1, 25) ** -0.8)
    canvas.add_tone(wave * canvas.at_samples(swell).astype(np.float32), level_db - 2)


def birds(canvas: Canvas, *, level_db: float, pitch_hz: tuple[float, float], rate_hz: float) -> None:
    """Play birds: phrases of short whistles that sweep up or down."""
    rng = canvas.rng
    pitch, sweep, length = rng.uniform(*pitch_hz), rng.uniform(-0.6, 0.6), rng.uniform(0.06, 0.16)
    t = np.arange(round(length * canvas.sample_rate)) / canvas.sample_rate
    for start in rng.uniform(0, canvas.seconds, max(rng.poisson(rate_hz * canvas.seconds / 3), 1)):
        for note in range(rng.integers(2, 6)):
            octaves = sweep * t / length + rng.normal(0, 0.05)
            phase = 2 * np.pi * np.cumsum(pitch * 2**octaves) / canvas.sample_rate
            wave = np.sin(phase) * np.sin(np.pi * t / length)
            canvas.add_tone(2 * wave.astype(np.float32), level_db, start + note * length * 1.5)


def chimes(canvas: Canvas, *, level_db: float, notes_hz: Sequence[float], apart_seconds: float) -> None:
    """Play struck notes one after the other: a gong before an announcement, a bell, a horn."""
    rng = canvas.rng
    tuning = 2 ** rng.uniform(-0.25, 0.25)
    start = rng.uniform(-0.3, max(canvas.seconds - apart_seconds * len(notes_hz), 0))
    t = np.arange(round(min(1.5, canvas.seconds) * canvas.sample_rate)) / canvas.sample_rate
    fade = np.exp(-t / 0.35) * np.minimum(t / 0.01, 1)
    for index, note_hz in enumerate(notes_hz):
        pitch = note_hz * tuning
        wave = fade * (np.sin(2 * np.pi * pitch * t) + 0.4 * np.sin(2 * np.pi * 2.76 * pitch * t))
        canvas.add_tone(2 * wave.astype(np.float32), level_db, start + index * apart_seconds)


def beeps(canvas: Canvas, *, level_db: float, pitch_hz: tuple[float, float], rate_hz: float) -> None:
    """Play electronic beeps at a steady rate: closing doors, a scanner."""
    rng = canvas.rng
    length = min(0.5 / rate_hz, 0.12)
    t = np.arange(round(length * canvas.sample_rate)) / canvas.sample_rate
    pitch = rng.uniform(*pitch_hz)
    wave = np.sin(2 * np.pi * pitch * t) + 0.3 * np.sin(6 * np.pi * pitch * t)
    first = rng.uniform(0, canvas.seconds / 2)
    for start in np.arange(first, min(first + max(1.6, 1.5 / rate_hz), canvas.seconds), 1 / rate_hz):
        canvas.add_tone(wave.astype(np.float32), level_db, start)


def music(canvas: Canvas, *, level_db: float, beat_seconds: tuple[float, float]) -> None:
    """Play background music: a melody over a bass, a new note with every beat."""
    rng = canvas.rng
    beat = rng.uniform(*beat_seconds)
    beats = (canvas.times / beat).astype(int)
    scale = np.array([0, 2, 4, 7, 9, 12]) / 12
    notes = rng.uniform(300, 500) * 2 ** rng.choice(scale, beats[-1] + 1)
    fade = np.exp(-2.0 * (canvas.times / beat % 1))
    wave = canvas.periodic(notes[beats], [1, 0.5, 0.3, 0.2]) + canvas.periodic(notes[beats // 4 * 4] / 4, [1, 0.4])
    canvas.add_tone(wave * canvas.at_samples(fade).astype(np.float32), level_db)


def gusts(canvas: Canvas, *, level_db: float, rate_hz: float, low_hz: float, high_hz: float) -> None:
    """Play noise that comes and goes: wind in leaves, a fountain, brakes that release air."""
    canvas.add_noise(np.exp(1.2 * canvas.smooth(rate_hz)) / 2, canvas.band(low_hz, high_hz), level_db)
