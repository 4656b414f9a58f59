"""The copies of training clips that the waveform augmentations of a run make: which ones there are, and their sound."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from asc_study.augmentation.waveform import Ingredients, TrainingSound, WaveformAugmentation
from asc_study.base.errors import InputError
from asc_study.base.source import source_digest
from asc_study.features.audio import read_audio

#: Part of the identity of every copy: raise it when the code of an augmentation changes what it returns.
WAVEFORM_VERSION: Final = 1


@dataclass(frozen=True, eq=False)
class AugmentedCopy:
    """One copy of a training clip; a `asc_study.features.audio.Sound`.

    Attributes
    ----------
    row
        Position of the copied clip among the training clips.
    name
        Of the augmentation, and the number of the copy if there are several.
    path, digest
        The copied clip's file and the digest of its content.
    treatment
        Canonical JSON of everything that decides the copy's sound, besides the clip.
    """

    row: int
    name: str
    path: Path
    digest: str
    treatment: str
    augmentation: WaveformAugmentation
    seed: tuple[int, ...]
    ingredients: Ingredients | None
    partner_path: Path | None

    def load(self, sample_rate: int, channels: int) -> npt.NDArray[np.float32]:
        """Read the clip and make its copy."""
        clip = read_audio(self.path, sample_rate, channels)
        partner = None if self.partner_path is None else read_audio(self.partner_path, sample_rate, channels)
        copy = self.augmentation(
            clip,
            sample_rate,
            np.random.default_rng([*self.seed, _SOUND]),
            ingredients=self.ingredients.value if self.ingredients else None,
            partner=partner,
        )
        if copy.shape != clip.shape:
            raise InputError(f"{self.name} must keep the shape {clip.shape}, got {copy.shape} from {self.path}")
        return copy


#: Last word of the seeds: the choice of a partner and the sound draw from streams of their own.
_PARTNER, _SOUND = 0, 1


def plan_copies(
    augmentations: Mapping[str, WaveformAugmentation], sound: TrainingSound
) -> Iterator[tuple[str, list[AugmentedCopy]]]:
    """Yield the name of each waveform augmentation with the copies that it makes, in the order of the names.

    The draws of a copy depend on the clip's content, the augmentation and its seed alone: not on the position of the
    clip, on other augmentations or on the run's seed.

    Parameters
    ----------
    augmentations
        By name, as a resolved config holds them.
    sound
        The training clips.

    Raises
    ------
    InputError
        If the clips do not have what an augmentation needs.
    """
    for name, augmentation in sorted(augmentations.items()):
        ingredients = augmentation.prepare(sound)
        identity = {
            "version": WAVEFORM_VERSION,
            "augmentation": name,
            "settings": {key: value for key, value in augmentation.identity().items() if key != "copies"},
            "code": source_digest(type(augmentation)),
            "ingredients": ingredients.digest if ingredients else None,
        }
        paths = [Path(path) for path in sound.clips["path"]]
        name_word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        copies = []
        for row in augmentation.rows(sound):
            for number in range(augmentation.copies):
                seed = (augmentation.seed, number, name_word, int(sound.digests[row][:16], 16))
                partner = augmentation.partner(sound, row, np.random.default_rng([*seed, _PARTNER]))
                own = {"copy": number, "partner": None if partner is None else sound.digests[partner]}
                copies.append(
                    AugmentedCopy(
                        row=int(row),
                        name=name if augmentation.copies == 1 else f"{name}-{number + 1}",
                        path=paths[row],
                        digest=sound.digests[row],
                        treatment=json.dumps(identity | own, sort_keys=True),
                        augmentation=augmentation,
                        seed=seed,
                        ingredients=ingredients,
                        partner_path=None if partner is None else paths[partner],
                    )
                )
        yield name, copies
