"""Whether the networks of a study keep its limits, found out by building them; nothing is trained."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from asc_study.base.errors import InputError
from asc_study.base.progress import Say
from asc_study.base.text_table import some
from asc_study.data.clips import Dataset
from asc_study.settings.limits import BYTES
from asc_study.settings.run_config import RunConfig, canonical_json
from asc_study.settings.study_file import Row
from asc_study.training.cycles import minima
from asc_study.training.run_data import input_shape
from asc_study.training.runtime import start_keras

if TYPE_CHECKING:
    import keras

Shape = tuple[int, int, int]


def require_limits(rows: Iterable[Row], dataset: Dataset, samples: int, say: Say) -> None:
    """Tell what limited rows cost; without limits no network is built.

    Parameters
    ----------
    rows, dataset
        The rows of a study, and the data set.
    samples
        Of a clip of the data set.
    say
        Told a line for each cost, with the rows that have it.

    Raises
    ------
    InputError
        If a row is beyond its limits: which, what it has, and what to change.
    """
    known: dict[str, tuple[int, int]] = {}
    kept: dict[str, list[str]] = {}
    for row in rows:
        if not row.limits.any:
            continue
        config, limits = row.config, row.limits
        shape = input_shape(config, dataset, samples)
        key = canonical_json([config.architecture, config.model.model_dump(mode="json"), shape, len(config.classes)])
        if key not in known:
            known[key] = network_cost(config, shape)
        parameters, macs = (averaged(config) * one for one in known[key])
        stored = parameters * BYTES[limits.precision]
        heard = " x ".join(str(size) for size in shape)
        if limits.params_bytes is not None and stored > limits.params_bytes:
            raise InputError(
                f"row {row.name!r}: limits.params_bytes is {limits.params_bytes:,}, got {stored:,} bytes, "
                f"{parameters:,} parameters in {limits.precision}: lower model.width, or say in limits.precision in "
                "what it will be deployed (float16, int8)"
            )
        if limits.macs is not None and macs > limits.macs:
            raise InputError(
                f"row {row.name!r}: limits.macs is {limits.macs:,}, got {macs:,} multiply-accumulates for a clip of "
                f"{heard} (bands, frames, channels): lower model.width, or have fewer bands or frames in `features`"
            )
        cost = f"{parameters:,} parameters, {stored:,} bytes in {limits.precision}; {macs:,} multiply-accumulates"
        kept.setdefault(f"{cost} for a clip of {heard}", []).append(row.name)
    for cost, names in kept.items():
        say(f"limits kept ({some(names)}): {cost}")


def require_roundable(rows: Iterable[Row], dataset: Dataset, samples: int) -> None:
    """Raise `InputError` if a quantisation-aware row has layers that cannot be trained so; parameters as above."""
    for row in rows:
        if row.config.quantisation_aware is None:
            continue
        network = _network(row.config, input_shape(row.config, dataset, samples))
        from asc_study.training.fake_quant import rounded_network

        try:
            rounded_network(network, row.config.quantisation_aware, 1)
        except InputError as error:
            raise InputError(f"row {row.name!r}: {error}") from None


def averaged(config: RunConfig) -> int:
    """Of how many networks the model of a run is the mean: each of them is stored and computed."""
    training, count = config.training, 1
    if training.select_epoch == "snapshots":
        lowest = minima(training.epochs, training.first_cycle, training.cycle_multiplier)
        count = min(training.snapshots, len(lowest))
    return count * config.folds if config.folds and config.validation.final == "mean" else count


def network_cost(config: RunConfig, shape: Shape) -> tuple[int, int]:
    """Trained parameters of a row's network, and its multiply-accumulates for a clip, by the rules of DCASE."""
    model = _network(config, shape)
    from asc_study.models.cost import count_torchinfo_macs, model_size

    return model_size(model).trainable_parameters, count_torchinfo_macs(model, shape)


def _network(config: RunConfig, shape: Shape) -> "keras.Model":
    """The network of a row as training builds it."""
    start_keras(config.training.threads)
    from asc_study.training.networks import build_network

    return build_network(config, shape)
