"""Samplers and pruners by name, with their options checked before Optuna is imported."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from asc_study.errors import InputError
from asc_study.schema import Strict, did_you_mean, validate
from asc_study.search_points import grid_values
from asc_study.search_space import Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class SamplerOptions(Strict):
    """What all samplers share; without a ``seed`` (null) each launch draws anew."""

    name: str
    seed: int | None = Field(0, ge=0, lt=2**32)


class _Tpe(SamplerOptions):
    n_startup_trials: int = Field(10, ge=0)
    n_ei_candidates: int = Field(24, ge=1)
    multivariate: bool = True
    group: bool = False
    constant_liar: bool = True


class _Nsga2(SamplerOptions):
    population_size: int = Field(50, ge=2)
    mutation_prob: float | None = Field(None, ge=0, le=1)
    crossover_prob: float = Field(0.9, ge=0, le=1)
    swapping_prob: float = Field(0.5, ge=0, le=1)


class _CmaEs(SamplerOptions):
    n_startup_trials: int = Field(1, ge=0)
    sigma0: float | None = Field(None, gt=0)


class _Gp(SamplerOptions):
    n_startup_trials: int = Field(10, ge=0)
    deterministic_objective: bool = False


class PrunerOptions(Strict):
    """What all pruners share."""

    name: str


class _Median(PrunerOptions):
    n_startup_trials: int = Field(5, ge=0)
    n_warmup_steps: int = Field(0, ge=0)
    interval_steps: int = Field(1, ge=1)
    n_min_trials: int = Field(1, ge=1)


class _Hyperband(PrunerOptions):
    min_resource: int = Field(1, ge=1)
    max_resource: int | Literal["auto"] = "auto"
    reduction_factor: int = Field(3, ge=2)


_SAMPLERS: Final[Mapping[str, type[SamplerOptions]]] = {
    "tpe": _Tpe,
    "random": SamplerOptions,
    "grid": SamplerOptions,
    "nsga2": _Nsga2,
    "cmaes": _CmaEs,
    "gp": _Gp,
}

_PRUNERS: Final[Mapping[str, type[PrunerOptions]]] = {
    "none": PrunerOptions,
    "median": _Median,
    "hyperband": _Hyperband,
}

#: Sampler -> the package that it needs besides Optuna.
_NEEDS: Final = {"cmaes": "cmaes", "gp": "torch"}


def sampler_options(raw: Mapping[str, Any], *, where: str) -> SamplerOptions:
    """Check the ``sampler`` of a search file.

    Raises
    ------
    InputError
        If its name or an option is unknown, or a package that it needs is not installed.
    """
    options: SamplerOptions = _options(_SAMPLERS, raw, "sampler", where)
    package = _NEEDS.get(options.name)
    if package and find_spec(package) is None:
        raise InputError(
            f"{where}: the sampler {options.name!r} needs the package {package}, which is not installed: "
            f"pip install {package}, or use another sampler"
        )
    return options


def pruner_options(raw: Mapping[str, Any], *, where: str, objectives: int) -> PrunerOptions:
    """Check the ``pruner`` of a search file.

    Raises
    ------
    InputError
        If its name or an option is unknown, or there is more than one objective.
    """
    options: PrunerOptions = _options(_PRUNERS, raw, "pruner", where)
    if objectives > 1 and options.name != "none":
        raise InputError(
            f"{where}: trials can be pruned by one objective only, got the pruner {options.name!r} with {objectives} "
            "objectives: remove it"
        )
    return options


def make_sampler(options: SamplerOptions, space: Space, worker: int) -> "BaseSampler":
    """The sampler of one worker; each worker of a search draws from a seed of its own."""
    from optuna import samplers

    chosen = options.model_dump(exclude={"name", "seed"})
    if options.name == "grid":  # its seed shuffles the points, which all workers count alike
        return samplers.GridSampler(grid_values(space, where="space"), seed=options.seed)
    seed = None
    if options.seed is not None:
        seed = int(np.random.SeedSequence([options.seed, worker]).generate_state(1)[0])
    if options.name == "tpe":
        return samplers.TPESampler(seed=seed, **chosen)
    if options.name == "nsga2":
        return samplers.NSGAIISampler(seed=seed, **chosen)
    if options.name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, **chosen)
    if options.name == "gp":
        return samplers.GPSampler(seed=seed, warn_independent_sampling=False, **chosen)
    return samplers.RandomSampler(seed=seed)


def make_pruner(options: PrunerOptions, steps: int) -> "BasePruner":
    """The pruner of a search whose longest trial reports ``steps`` values."""
    from optuna import pruners

    chosen = options.model_dump(exclude={"name"})
    if options.name == "median":
        return pruners.MedianPruner(**chosen)
    if options.name == "hyperband":
        if chosen["max_resource"] == "auto":
            chosen["max_resource"] = max(steps, chosen["min_resource"])
        return pruners.HyperbandPruner(**chosen)
    return pruners.NopPruner()


def _options(known: Mapping[str, type[Any]], raw: Mapping[str, Any], kind: str, where: str) -> Any:
    name = raw.get("name")
    if not isinstance(name, str) or name not in known:
        raise InputError(f"{where}: unknown `{kind}.name`, got {name!r}: {did_you_mean(str(name), dict(known))}")
    return validate(known[name], dict(raw), where=where, path=kind)
