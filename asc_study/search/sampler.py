"""Samplers and pruners by name, with their options checked before Optuna is imported."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from asc_study.base.errors import InputError, shown
from asc_study.base.schema import Strict, did_you_mean, validate
from asc_study.search.points import grid_values
from asc_study.search.space import Space

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

    @model_validator(mode="after")
    def _check_group(self) -> "_Tpe":
        if self.group and not self.multivariate:
            raise ValueError("sampler.group needs multivariate: true, got false: set it, or remove group")
        return self


class _Nsga2(SamplerOptions):
    population_size: int = Field(50, ge=2)
    mutation_prob: float | None = Field(None, ge=0, le=1)
    crossover_prob: float = Field(0.9, ge=0, le=1)
    swapping_prob: float = Field(0.5, ge=0, le=1)


class _CmaEs(SamplerOptions):
    n_startup_trials: int = Field(1, ge=0)


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
    max_resource: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    reduction_factor: int = Field(3, ge=2)

    @model_validator(mode="after")
    def _check_range(self) -> "_Hyperband":
        if self.max_resource != "auto" and self.max_resource < self.min_resource:
            raise ValueError(
                f"pruner.max_resource must be at least min_resource, got {self.max_resource} and {self.min_resource}: "
                "raise it"
            )
        return self


#: Name -> options, of every sampler of a search.
SAMPLERS: Final[Mapping[str, type[SamplerOptions]]] = {
    "tpe": _Tpe,
    "random": SamplerOptions,
    "grid": SamplerOptions,
    "nsga2": _Nsga2,
    "cmaes": _CmaEs,
    "gp": _Gp,
}

#: Name -> options, of every pruner of a search.
PRUNERS: Final[Mapping[str, type[PrunerOptions]]] = {
    "none": PrunerOptions,
    "median": _Median,
    "hyperband": _Hyperband,
}

#: Sampler -> the package that it needs besides Optuna.
_NEEDS: Final = {"cmaes": "cmaes", "gp": "torch"}


def sampler_options(raw: Mapping[str, Any], *, where: str, objectives: int) -> SamplerOptions:
    """Check the ``sampler`` of a search file.

    Raises
    ------
    InputError
        If its name or an option is unknown, a package that it needs is not installed, or it knows one objective only.
    """
    options: SamplerOptions = _options(SAMPLERS, raw, "sampler", where)
    if objectives > 1 and options.name == "cmaes":
        raise InputError(
            f"{where}: the sampler 'cmaes' knows one objective only, got {objectives}: use nsga2, tpe, gp or random"
        )
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
    options: PrunerOptions = _options(PRUNERS, raw, "pruner", where)
    if objectives > 1 and options.name != "none":
        raise InputError(
            f"{where}: trials can be pruned by one objective only, got the pruner {options.name!r} with {objectives} "
            "objectives: remove it"
        )
    return options


def make_sampler(options: SamplerOptions, space: Space) -> "BaseSampler":
    """The sampler of a search; it draws each trial from a seed of its own, whichever process draws it."""
    from optuna import samplers

    if options.name == "grid":  # its seed shuffles the points, which all processes count alike
        return samplers.GridSampler(grid_values(space, where="space"), seed=options.seed)
    if options.seed is None:
        return _make_seeded(options, None)
    from asc_study.search.seeds import SeededSampler

    return SeededSampler(partial(_make_seeded, options), options.seed)


def _make_seeded(options: SamplerOptions, seed: int | None) -> "BaseSampler":
    from optuna import samplers

    chosen = options.model_dump(exclude={"name", "seed"})
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
        raise InputError(f"{where}: unknown `{kind}.name`, got {shown(name)}: {did_you_mean(str(name), dict(known))}")
    return validate(known[name], dict(raw), where=where, path=kind)
