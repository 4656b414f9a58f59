"""What can be deployed: a trained run, a quantised one, or a file with weights; and what each hears."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asc_study.base.contract import Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.schema import did_you_mean
from asc_study.base.taxonomy import CLASSES
from asc_study.data.formats import DATA_FORMATS
from asc_study.models.stored import load_model
from asc_study.settings.features import FeatureConfig
from asc_study.settings.run_config import RunConfig
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.references import find_runs
from asc_study.systems.score_network import config_of, sample_rate_of
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras

#: Threads that Keras computes with for a file, which no run has a setting of.
_THREADS: Final = 2

#: Length of a clip where nothing says it: that of all TAU data sets.
_SECONDS: Final = 10


@dataclass(frozen=True)
class Source:
    """A network to be deployed.

    Attributes
    ----------
    name
        What people call it.
    task
        ``ten_class`` or ``three_class``.
    features, sample_rate, channels
        What it hears: feature settings, Hz, audio channels.
    samples
        Length of the clips that it was trained on; 0 if nothing says it.
    load
        Starts Keras and gives the model.
    record, config
        Of a run: itself and its settings; a file has none.
    """

    name: str
    task: str
    features: FeatureConfig
    sample_rate: int
    channels: int
    samples: int
    load: Callable[[], "keras.Model"]
    record: RunRecord | None = None
    config: RunConfig | None = None

    @property
    def clip_samples(self) -> int:
        """Length of its clips; ten seconds if nothing says it."""
        return self.samples or _SECONDS * self.sample_rate


def is_file(reference: str) -> bool:
    """Whether a source is a file of weights and not the name of a run."""
    return Path(reference).suffix.lower() in (".keras", ".hdf5", ".h5")


def find_source(tracker: Reader | None, reference: str, *, like: str | None = None) -> Source:
    """The source that a user named.

    Parameters
    ----------
    tracker
        The store; None if there is none.
    reference
        ``STUDY/ROW@SEED``, a run id, a ``.keras`` file, or an HDF5 file of Keras 2.
    like
        ``STUDY.yaml:ROW``: whose features and task a file has; needed for HDF5.

    Raises
    ------
    InputError
        If there is no such run or file, several runs are meant, or it has no model.
    """
    if is_file(reference):
        return _from_file(Path(reference), like)
    if like:
        raise InputError(f"--like is for files, got it with the run {reference!r}: leave it out")
    if tracker is None:
        raise InputError(f"there is no tracking store with {reference!r}: run a study here first, or name a file")
    return source_of(tracker, one_run(tracker, reference, (Kind.TRAIN,)))


def one_run(tracker: Reader, reference: str, kinds: tuple[str, ...]) -> RunRecord:
    """The one run of a kind that a name stands for.

    Raises
    ------
    InputError
        If it stands for none or several, or the run is of another kind.
    """
    records = find_runs(tracker, reference)
    if len(records) > 1:
        labels = ", ".join(record.label for record in records[:5])
        raise InputError(f"one run is deployed at a time, {reference!r} stands for {labels}: write {reference}@SEED")
    (record,) = records
    if record.tags.get(Tag.KIND) not in kinds:
        raise InputError(
            f"{reference!r} must be of kind {' or '.join(kinds)}, got {record.tags.get(Tag.KIND)}: name the "
            "runs that it is made of"
        )
    return record


def source_of(tracker: Reader, record: RunRecord) -> Source:
    """A trained run as a source; raises `InputError` if its settings are gone, or it does not hear sound."""
    config = config_of(tracker, record)
    config.features.require_sound(record.label)

    def load() -> "keras.Model":
        start_keras(config.training.threads)
        return tracker.load_keras_model(record.run_id)

    recorded, samples = record.tags.get(Tag.CHANNELS, ""), record.tags.get(Tag.CLIP_SAMPLES, "")
    channels = int(recorded) if recorded.isdecimal() else load().input_shape[-1] // config.features.maps
    return Source(
        name=record.label,
        task=config.task,
        features=config.features,
        sample_rate=sample_rate_of(record, channels),
        channels=channels,
        samples=int(samples) if samples.isdecimal() else 0,
        load=load,
        record=record,
        config=config,
    )


def _from_file(path: Path, like: str | None) -> Source:
    if not path.is_file():
        raise InputError(f"there is no file {path}: name a .keras or HDF5 file, or a run")
    config = _row(like) if like else None
    if config:
        config.features.require_sound(like or "")
    start_keras(config.training.threads if config else _THREADS)
    model = load_model(path) if path.suffix == ".keras" else _load_hdf5(path, config)
    bands, classes = model.input_shape[1], model.output_shape[-1]
    tasks = {len(names): task for task, names in CLASSES.items()}
    features = config.features if config else FeatureConfig(n_mels=bands)
    if (config is None and classes not in tasks) or bands != features.n_mels or model.input_shape[-1] % features.maps:
        deltas = "with" if features.deltas else "without"
        raise InputError(
            f"{path} takes {model.input_shape[1:]} and gives {classes} classes, which does not fit {features.n_mels} "
            f"mel bands {deltas} deltas and 10 or 3 classes: name its row with --like STUDY.yaml:ROW"
        )
    channels = model.input_shape[-1] // features.maps
    rates = {known.channels: known.sample_rate for known in DATA_FORMATS.values()}
    if channels not in rates:
        raise InputError(f"{path} takes {channels} audio channels, known data sets have {sorted(rates)}: train a run")
    return Source(
        path.name,
        config.task if config else tasks[classes],
        features,
        rates[channels],
        channels,
        0,
        lambda: model,
        config=config,
    )


def _row(like: str) -> RunConfig:
    from asc_study.settings.study_file import load_study

    file, colon, name = like.rpartition(":")
    if not colon or not file:
        raise InputError(f"--like takes STUDY.yaml:ROW, got {like!r}: for example studies/table2.yaml:small-fcnn")
    rows = {row.name: row.config for row in load_study(Path(file)).rows}
    if name not in rows:
        raise InputError(f"{file} has no row {name!r}: {did_you_mean(name, list(rows))}")
    return rows[name]


def _load_hdf5(path: Path, config: RunConfig | None) -> "keras.Model":
    from asc_study.models import build_model
    from asc_study.models.import_weights import infer_options, load_weights_by_layer_order, read_hdf5_weights

    if config is None:
        raise InputError(f"{path} holds weights only: say whose with --like STUDY.yaml:ROW")
    options = infer_options(config.architecture, read_hdf5_weights(path))
    channels = next(known.channels for known in DATA_FORMATS.values() if known.task == config.task)
    shape = (config.features.n_mels, None, config.features.maps * channels)
    model = build_model(config.architecture, input_shape=shape, num_classes=len(config.classes), **options)
    load_weights_by_layer_order(model, path)
    return model
