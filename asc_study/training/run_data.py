"""What a run is trained and tested on: its clips with their splits, augmented copies included, and their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asc_study.base.errors import InputError, TrainingFailure
from asc_study.base.paths import cache_dir
from asc_study.data.clips import Dataset, as_of_reference
from asc_study.data.cut import cut_validation, keep_devices_of_train, keep_share_of_train, keep_subset_of_train
from asc_study.data.folds import cut_fold
from asc_study.features.audio import Recording
from asc_study.features.embeddings import embedding_store, read_embeddings
from asc_study.features.settings import LogMelSettings, stacked_shape
from asc_study.features.store import FeatureStore, extract
from asc_study.settings.run_config import RunConfig, canonical_json

if TYPE_CHECKING:
    import pandas as pd

#: Share of the copies of an augmentation that a run may do without: it would else be a run of other data.
_MOST_LEFT_OUT: Final = 0.05

#: Cut clip tables that are held at a time: each is as large as the data set's own.
_CUTS_HELD: Final = 8


@dataclass(frozen=True, eq=False)
class RunData:
    """Clips and features of a run.

    Attributes
    ----------
    clips
        The clip table with its splits, and a train row for every augmented copy, whose ``clip_id`` names the
        augmentation (``<clip>+pitch_shift``). The index is the clip's position in ``store``.
    store
        Static log-mel features, or embeddings.
    left_out
        One line for each copy that could not be made.
    teacher
        What a teacher says of the train clips: probabilities, a column a class, by the index of ``clips``.
    """

    clips: "pd.DataFrame"
    store: FeatureStore
    left_out: tuple[str, ...] = ()
    teacher: "pd.DataFrame | None" = None


def split_clips(dataset: Dataset, config: RunConfig, fold: int = 0) -> "pd.DataFrame":
    """The clip table with the splits of a run; the index is the clip's position in the data set.

    Parameters
    ----------
    dataset
        The data set.
    config
        The settings of the run.
    fold
        Which fold is validation, if the run has any; their number stands for none.

    Raises
    ------
    InputError
        If the devices to be held out cannot be, or the data set has no such subset or no train clip of a device.
    """
    from pandas import Index

    clips, validation = dataset.clips, config.validation
    if config.training.subset is not None:
        clips = keep_subset_of_train(clips, dataset.subsets, config.training.subset)
    if config.training.data == "development":
        clips = clips.assign(split="train")
    elif config.folds:
        clips = cut_fold(
            clips,
            fold=fold,
            folds=config.folds,
            seed=validation.seed,
            holdout_devices=validation.holdout_devices,
            reference_device=dataset.format.reference_device,
        )
    elif validation.share > 0:
        clips = cut_validation(
            clips,
            share=validation.share,
            seed=validation.seed,
            holdout_devices=validation.holdout_devices,
            reference_device=dataset.format.reference_device,
        )
    if config.training.devices:
        clips = keep_devices_of_train(clips, config.training.devices)
    if config.training.clip_fraction < 1:
        share = config.training.clip_fraction
        clips = keep_share_of_train(clips, share, seed=validation.seed, of=dataset.clips)
    return clips.set_index(Index(dataset.clips["clip_id"]).get_indexer(clips["clip_id"]))


def deciding(validation: "pd.DataFrame", config: RunConfig) -> "pd.DataFrame":
    """The validation clips by which the best epoch is told: those of the devices that training hears.

    Devices that are held out stand for unseen ones: nothing is chosen on them.
    """
    if config.training.devices:
        return validation[validation["device"].isin(config.training.devices)]
    return validation[~validation["device"].isin(config.validation.holdout_devices)]


class Cuts:
    """`split_clips` of one data set, made once for rows that differ in something else."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._made: dict[tuple[str, int], pd.DataFrame] = {}

    def __call__(self, config: RunConfig, fold: int = 0) -> "pd.DataFrame":
        """The clips of a run; see `split_clips`."""
        key = canonical_json(_of_cut(config)), fold
        if key not in self._made:
            if len(self._made) == _CUTS_HELD:
                del self._made[next(iter(self._made))]
            self._made[key] = split_clips(self._dataset, config, fold)
        return self._made[key]


def _of_cut(config: RunConfig) -> dict[str, Any]:
    """The settings that say which clips a run has in which split."""
    training = config.training.model_dump(include={"data", "subset", "devices", "clip_fraction"})
    return {"validation": config.validation.model_dump(), **training}


def train_samples(clips: "pd.DataFrame", config: RunConfig) -> int:
    """How many clips a run is trained on, its augmented copies included, before any copy is made.

    Parameters
    ----------
    clips
        The clip table with the splits of the run.
    config
        Its settings.
    """
    return int((clips["split"] == "train").sum()) + sum(copies_of(clips, config).values())


def copies_of(clips: "pd.DataFrame", config: RunConfig) -> dict[str, int]:
    """How many augmented copies each waveform augmentation of a run makes; see `train_samples`."""
    from asc_study.augmentation.waveform import TrainingSound

    train = clips[clips["split"] == "train"].reset_index(drop=True)
    sound = TrainingSound(clips=as_of_reference(train), digests=[""] * len(train), sample_rate=0, cache=cache_dir())
    return {name: part.copies * len(part.rows(sound)) for name, part in config.waveform_augmentation.items()}


def steps_of_epoch(samples: int, batch_size: int) -> int:
    """Steps of an epoch over so many clips: what is left over of a shuffle, less than a batch, is dropped."""
    return samples // min(batch_size, samples)


def log_mel_settings(config: RunConfig, dataset: Dataset) -> LogMelSettings:
    """The feature settings of a run at the sample rate of the data set."""
    return config.features.at(dataset.sample_rate)


def stored_shape(config: RunConfig, dataset: Dataset, samples: int) -> tuple[int, int, int]:
    """Frequency bands, frames and channels that the store keeps of a clip of so many samples; of embeddings, theirs.

    Raises
    ------
    InputError
        If the features do not fit the sound, or a file of embeddings does not have every clip.
    """
    if config.features.embeddings is not None:
        found = read_embeddings(Path(config.features.embeddings), progress=True)
        found.keys(dataset.clips["clip_id"].tolist())
        return found.shape
    settings = log_mel_settings(config, dataset)
    return settings.n_mels, settings.frames(samples), dataset.channels


def input_shape(config: RunConfig, dataset: Dataset, samples: int) -> tuple[int, int, int]:
    """What a network is given of a clip: `stored_shape`, with deltas where there are some."""
    return stacked_shape(stored_shape(config, dataset, samples), deltas=config.features.deltas)


def run_data(
    config: RunConfig,
    dataset: Dataset,
    audio_digests: Sequence[str],
    *,
    fold: int = 0,
    jobs: int = 1,
    progress: bool = False,
    study: str = "",
) -> RunData:
    """Gather what a run needs; features and copies that are not stored yet are computed.

    Parameters
    ----------
    config
        The resolved settings.
    dataset, audio_digests
        The data set with the digest of each clip's audio.
    fold
        See `split_clips`.
    jobs
        Processes to compute with.
    progress
        Show progress bars on standard error.
    study
        Who uses them, for `asc-study cache` to know.

    Raises
    ------
    InputError
        If a clip cannot be read or has no embedding, or a waveform augmentation does not find what it needs.
    TrainingFailure
        If more than 5 % of the copies of an augmentation cannot be made.
    """
    cache = cache_dir() / "features"
    if config.features.embeddings is not None:
        if config.waveform_augmentation:  # of a student, whose teacher has these features
            raise InputError(
                "a teacher on embeddings knows no augmented copies, got waveform_augmentation of its student: leave it "
                "out, or name another teacher"
            )
        names, path = dataset.clips["clip_id"].tolist(), Path(config.features.embeddings)
        store = embedding_store(path, names, cache, progress=progress, data=dataset.root.name, study=study)
        return RunData(split_clips(dataset, config, fold), store)
    settings = log_mel_settings(config, dataset)
    recordings = [
        Recording(Path(path), digest) for path, digest in zip(dataset.clips["path"], audio_digests, strict=True)
    ]
    how: dict[str, Any] = {"channels": dataset.channels, "jobs": jobs, "progress": progress}
    how |= {"data": dataset.root.name, "study": study}
    store = extract(recordings, settings, cache, **how)
    clips = split_clips(dataset, config, fold)
    if not config.waveform_augmentation:
        return RunData(clips, store)
    return _with_copies(RunData(clips, store), config, dataset, audio_digests, how)


def _with_copies(
    originals: RunData, config: RunConfig, dataset: Dataset, audio_digests: Sequence[str], how: Mapping[str, Any]
) -> RunData:
    """Add the augmented copies; ``how`` is what `extract` is told of every sound of the run."""
    import pandas as pd

    from asc_study.augmentation.copies import plan_copies
    from asc_study.augmentation.waveform import TrainingSound

    train = originals.clips[originals.clips["split"] == "train"]
    sound = TrainingSound(
        clips=as_of_reference(train.reset_index(drop=True)),
        digests=[audio_digests[position] for position in train.index],
        sample_rate=dataset.sample_rate,
        cache=cache_dir() / "augmentation",
        jobs=how["jobs"],
        progress=how["progress"],
    )
    tables, store, left_out = [originals.clips], originals.store, []
    for name, copies in plan_copies(config.waveform_augmentation, sound):
        if not copies:
            continue
        made = extract(
            copies,
            log_mel_settings(config, dataset),
            cache_dir() / "features",
            leave_out_broken=True,
            label=name,
            **how,
        )
        if len(made.broken) > _MOST_LEFT_OUT * len(copies):
            first, reason = next(iter(made.broken.items()))
            raise TrainingFailure(
                f"at most {_MOST_LEFT_OUT:.0%} of the copies of {name} may be left out, got {len(made.broken)} of "
                f"{len(copies)} that could not be made, the first of {copies[first].path}: {reason}"
            )
        whole = [number for number in range(len(copies)) if number not in made.broken]
        table = train.iloc[[copies[number].row for number in whole]]
        names = [f"{clip}+{copies[number].name}" for clip, number in zip(table["clip_id"], whole, strict=True)]
        tables.append(table.assign(clip_id=names).set_index(pd.Index([len(store) + number for number in whole])))
        store = store + made
        left_out += [f"{copies[i].name} of {copies[i].path}: {reason}" for i, reason in made.broken.items()]
    return RunData(pd.concat(tables), store, tuple(left_out))


def data_key(config: RunConfig) -> str:
    """Equal for runs that are trained on the same data, so that these are made once for all of them."""
    return canonical_json(config.model_dump(include={"features", "waveform_augmentation"}) | _of_cut(config))


def describe_left_out(left_out: Sequence[str]) -> str:
    """One line that says how many copies could not be made, and shows the first."""
    return f"note: {len(left_out)} augmented copies could not be made and are left out, the first: {left_out[0]}"
