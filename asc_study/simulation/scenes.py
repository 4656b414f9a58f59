"""Ten acoustic scenes made of parametric sources: what a place sounds like, before any device records it.

A scene is a bed of steady noise (its colour) and sources that come and go (their patterns in time and pitch). Scenes of
a group share kinds of sources; a place has its own reverberation, colour and mix of the sources of its scene.

Two kinds of cues tell scenes apart, by design: the bed's resonances, which a device's own resonances mask, so that a
model that leans on them fails on devices it has not heard; and the patterns of the sources, which every device lets
through.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from asc_study.acoustics.impulse_responses import colour_response, convolve, make_impulse_response
from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.simulation.canvas import (
    Canvas,
    beeps,
    birds,
    bursts,
    chimes,
    engine,
    gusts,
    murmur,
    music,
    pass_by,
    speech,
    whine,
)


@dataclass(frozen=True)
class Source:
    """Something that sounds in a scene: who plays it, how often and how loud (dB relative to the bed)."""

    play: Callable[..., None]
    probability: float
    level_db: float
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A scene: the colour of its bed, its reverberation time in seconds and its sources.

    ``slope_db`` is per octave above 100 Hz; ``bumps`` are (centre in Hz, height in dB) of resonances, a third of
    an octave wide to either side.
    """

    slope_db: float
    bumps: tuple[tuple[float, float], ...]
    reverberation: tuple[float, float]
    sources: tuple[Source, ...]


_BUMP_OCTAVES: Final = 0.3

# Walking and the joints of rails sound the same everywhere; the rate says where.
_STEPS: Final = {"low_hz": 150, "high_hz": 3_000, "decay_seconds": 0.03}
_JOINTS: Final = {"low_hz": 80, "high_hz": 1_500, "decay_seconds": 0.04}

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "airport": Recipe(
            slope_db=-4.0,
            bumps=((350, 8), (4_000, 10)),
            reverberation=(0.8, 1.6),
            sources=(
                Source(murmur, 0.9, -6, {"voices": 5}),
                Source(chimes, 0.55, 0, {"notes_hz": (660, 550, 440), "apart_seconds": 0.5}),
                Source(speech, 0.5, -2, {"low_hz": 400, "high_hz": 3_500}),
                Source(bursts, 0.6, -2, {"rate_hz": 14, "low_hz": 400, "high_hz": 5_000, "decay_seconds": 0.02}),
            ),
        ),
        "shopping_mall": Recipe(
            slope_db=-4.0,
            bumps=((900, 8), (7_000, 10)),
            reverberation=(0.6, 1.3),
            sources=(
                Source(murmur, 1.0, -4, {"voices": 6}),
                Source(music, 0.7, -2, {"beat_seconds": (0.42, 0.6)}),
                Source(bursts, 0.5, -2, {"rate_hz": 1.8, **_STEPS}),
                Source(beeps, 0.25, -2, {"pitch_hz": (2_200, 2_600), "rate_hz": 1.0}),
            ),
        ),
        "metro_station": Recipe(
            slope_db=-4.5,
            bumps=((160, 10), (2_000, 8)),
            reverberation=(1.2, 2.2),
            sources=(
                Source(murmur, 0.7, -6, {"voices": 4}),
                Source(whine, 0.6, -2, {"start_hz": (250, 700), "glide_octaves": -1.2, "harmonics": 4}),
                Source(beeps, 0.35, -1, {"pitch_hz": (900, 1_300), "rate_hz": 5.0}),
                Source(bursts, 0.6, 0, {"rate_hz": 1.9, **_STEPS}),
                Source(speech, 0.3, -3, {"low_hz": 400, "high_hz": 3_500}),
            ),
        ),
        "bus": Recipe(
            slope_db=-6.5,
            bumps=((80, 10), (2_500, 8)),
            reverberation=(0.1, 0.2),
            sources=(
                Source(engine, 1.0, -4, {"pitch_hz": (24, 42), "glide_octaves": 0.7}),
                Source(bursts, 0.5, -4, {"rate_hz": 9, "low_hz": 1_000, "high_hz": 6_000, "decay_seconds": 0.015}),
                Source(gusts, 0.35, -4, {"rate_hz": 0.8, "low_hz": 2_000, "high_hz": 9_000}),
                Source(speech, 0.3, -4, {"low_hz": 150, "high_hz": 5_000}),
            ),
        ),
        "metro": Recipe(
            slope_db=-6.0,
            bumps=((250, 10), (1_200, 8)),
            reverberation=(0.15, 0.3),
            sources=(
                Source(whine, 0.85, -4, {"start_hz": (200, 500), "glide_octaves": 1.0, "harmonics": 4}),
                Source(bursts, 0.8, -2, {"rate_hz": 3.2, "pair_seconds": 0.11, **_JOINTS}),
                Source(beeps, 0.15, -2, {"pitch_hz": (900, 1_300), "rate_hz": 5.0}),
                Source(speech, 0.25, -4, {"low_hz": 400, "high_hz": 3_500}),
            ),
        ),
        "tram": Recipe(
            slope_db=-6.0,
            bumps=((500, 10), (5_000, 8)),
            reverberation=(0.1, 0.25),
            sources=(
                Source(whine, 0.6, -6, {"start_hz": (500, 900), "glide_octaves": 0.5, "harmonics": 3}),
                Source(bursts, 0.8, -2, {"rate_hz": 1.3, "pair_seconds": 0.2, **_JOINTS}),
                Source(chimes, 0.4, -1, {"notes_hz": (1_500, 1_500), "apart_seconds": 0.25}),
                Source(whine, 0.35, -6, {"start_hz": (2_500, 4_000), "glide_octaves": 0.15, "harmonics": 2}),
            ),
        ),
        "park": Recipe(
            slope_db=-3.5,
            bumps=((500, 6), (6_000, 10)),
            reverberation=(0.05, 0.2),
            sources=(
                Source(birds, 0.85, -1, {"pitch_hz": (2_500, 6_000), "rate_hz": 2.5}),
                Source(gusts, 0.8, -4, {"rate_hz": 0.5, "low_hz": 1_500, "high_hz": 9_000}),
                Source(bursts, 0.35, -3, {"rate_hz": 2.6, **_STEPS}),
                Source(pass_by, 0.3, -6, {"seconds": (2.0, 4.0)}),
            ),
        ),
        "public_square": Recipe(
            slope_db=-4.0,
            bumps=((250, 8), (3_000, 8)),
            reverberation=(0.3, 0.7),
            sources=(
                Source(murmur, 0.9, -5, {"voices": 5}),
                Source(chimes, 0.35, -1, {"notes_hz": (330, 262), "apart_seconds": 1.0}),
                Source(birds, 0.35, -3, {"pitch_hz": (1_500, 3_000), "rate_hz": 1.2}),
                Source(gusts, 0.5, -4, {"rate_hz": 6.0, "low_hz": 1_000, "high_hz": 6_000}),
                Source(pass_by, 0.35, -5, {"seconds": (1.0, 2.5)}),
            ),
        ),
        "street_pedestrian": Recipe(
            slope_db=-4.0,
            bumps=((700, 8), (1_800, 8)),
            reverberation=(0.3, 0.7),
            sources=(
                Source(bursts, 0.9, -1, {"rate_hz": 1.8, **_STEPS}),
                Source(bursts, 0.5, -3, {"rate_hz": 2.1, **_STEPS}),
                Source(speech, 0.7, -3, {"low_hz": 150, "high_hz": 5_000}),
                Source(murmur, 0.6, -6, {"voices": 4}),
                Source(pass_by, 0.2, -6, {"seconds": (1.0, 2.5)}),
            ),
        ),
        "street_traffic": Recipe(
            slope_db=-5.0,
            bumps=((120, 8), (1_000, 10)),
            reverberation=(0.2, 0.5),
            sources=(
                Source(pass_by, 0.95, 0, {"seconds": (0.7, 1.8)}),
                Source(pass_by, 0.6, -2, {"seconds": (0.7, 1.8)}),
                Source(engine, 0.5, -5, {"pitch_hz": (25, 45), "glide_octaves": 0.4}),
                Source(chimes, 0.12, -2, {"notes_hz": (420, 420), "apart_seconds": 0.3}),
            ),
        ),
    }
)

#: How likely it is that a segment also has a source of another scene of its group.
STRAY_PROBABILITY: Final = 0.4

#: How likely it is that all of a segment sounds like another scene of its group ("some acoustic scenes are fuzzy by
#: design", section 6: a small shop can be in a mall or in an airport). It bounds what any model can reach.
FUZZY_PROBABILITY: Final = 0.10


@dataclass(frozen=True, eq=False)
class Place:
    """A location: its scene, its response (room and colour, one a channel), and how loud its bed and sources are."""

    scene: str
    sample_rate: int
    responses: tuple[NDArray[np.float32], ...]
    level_db: float
    source_levels_db: tuple[float, ...]


def make_place(
    scene: str, sample_rate: int, channels: int, city_rng: np.random.Generator, rng: np.random.Generator
) -> Place:
    """Draw a place of a scene; ``city_rng`` (the same for all places of a city) gives what its places share."""
    recipe = RECIPES[scene]
    city_colour = colour_response(city_rng, sample_rate, low_hz=30, high_hz=18_000, ripple_db=0.7, taps=512)
    decay_seconds = rng.uniform(*recipe.reverberation)
    reverberant_db = rng.uniform(-8, -2)
    colour = colour_response(rng, sample_rate, low_hz=30, high_hz=18_000, ripple_db=1.0, taps=512)
    rooms = [
        make_impulse_response(rng, sample_rate, decay_seconds=decay_seconds, reverberant_db=reverberant_db)
        for _ in range(channels)
    ]
    responses = tuple(convolve(convolve(np.pad(room, (0, 1024)), colour), city_colour) for room in rooms)
    level_db = -28 + rng.normal(0, 2.5)
    source_levels_db = tuple(source.level_db + rng.normal(0, 2.0) for source in recipe.sources)
    return Place(scene, sample_rate, responses, level_db, source_levels_db)


def render(place: Place, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Render a segment of a place.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(samples,)`` for a place with one response, else ``(samples, responses)``; in [-1, 1].
    """
    canvas = Canvas(place.sample_rate, round(seconds * place.sample_rate), len(place.responses), rng)
    group = GROUP_OF_SCENE[place.scene]
    others = [scene for scene in SCENES if scene != place.scene and GROUP_OF_SCENE[scene] == group]
    fuzzy = rng.random() < FUZZY_PROBABILITY
    recipe = RECIPES[others[rng.integers(len(others))] if fuzzy else place.scene]
    canvas.add_noise(np.ones(canvas.frames), _bed(recipe, canvas.hz), level_db=0.0)
    levels_db = [source.level_db for source in recipe.sources] if fuzzy else place.source_levels_db
    for source, level_db in zip(recipe.sources, levels_db, strict=True):
        if rng.random() < source.probability:
            source.play(canvas, level_db=level_db + rng.normal(0, 1.5), **source.settings)
    if rng.random() < STRAY_PROBABILITY:
        sources = RECIPES[others[rng.integers(len(others))]].sources
        stray = sources[rng.integers(len(sources))]
        stray.play(canvas, level_db=stray.level_db - 2.0, **stray.settings)
    dry = canvas.render()
    wet = np.stack([convolve(dry[:, c], place.responses[c]) for c in range(dry.shape[1])], axis=1)
    wet *= 10 ** (place.level_db / 20)
    return np.clip(wet[:, 0] if wet.shape[1] == 1 else wet, -1.0, 1.0)


def _bed(recipe: Recipe, hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the power spectrum of the steady noise."""
    octaves = np.log2(np.maximum(hz, 20.0) / 100.0)
    gain_db = recipe.slope_db * np.maximum(octaves, 0) - 6 * np.maximum(-octaves, 0)
    for centre_hz, height_db in recipe.bumps:
        distance = (octaves - math.log2(centre_hz / 100)) / _BUMP_OCTAVES
        gain_db = gain_db + height_db * np.exp(-0.5 * distance**2)
    return np.asarray(10 ** (gain_db / 10), dtype=np.float64)
