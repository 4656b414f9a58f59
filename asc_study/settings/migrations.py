"""Settings of earlier versions: what a run wrote is read by today's code, whenever it was made.

A run's ``config.yaml`` names the schema that it was written with (1 if it names none). A change of a key's name or
meaning adds one function here, which turns a mapping of the schema before into one of the next. Every key is written
out, so one that is not there did not exist: what was done then is in `_BEFORE`, where it is not today's default.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import yaml

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError
from asc_study.base.metric_table import ALL_CLIPS
from asc_study.base.yaml_file import parse_yaml
from asc_study.settings.identity import SCHEMA_VERSION
from asc_study.settings.run_config import RunConfig, resolve

#: Keys of ``config.yaml`` that are not settings.
_ABOUT: Final = ("schema", "row", "seed", "trial", "point")


def _from_1(settings: dict[str, Any]) -> dict[str, Any]:
    """Parts of one's own are named ``module:object`` since schema 2; ``module.object`` was allowed before."""

    def renamed(name: Any) -> Any:
        if not isinstance(name, str):
            return name  # wrong, which is said where the settings are checked
        module, _, attribute = name.rpartition(".")
        return f"{module}:{attribute}" if module and ":" not in name else name

    for key in ("waveform_augmentation", "batch_augmentation"):
        if isinstance(parts := settings.get(key), dict):
            settings[key] = {renamed(name): value for name, value in parts.items()}
    if "architecture" in settings:
        settings["architecture"] = renamed(settings["architecture"])
    return settings


#: Key of ``training`` -> what was done before there was a choice.
_BEFORE: Final = MappingProxyType({"select_by": ALL_CLIPS.metric})

#: Schema -> what makes its settings those of the next one.
MIGRATIONS: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = MappingProxyType({1: _from_1})


def written_config(config: RunConfig, **about: Any) -> str:
    """The text of ``config.yaml``: the schema, what the run is called, and its settings."""
    return yaml.safe_dump({"schema": SCHEMA_VERSION, **about, **config.model_dump(mode="json")}, sort_keys=False)


def read_config(text: str, *, where: str) -> RunConfig:
    """The settings of a run from its ``config.yaml``, whichever version wrote it.

    Raises
    ------
    InputError
        If it is not YAML of settings, or was written by a newer version than this.
    """
    try:
        read = parse_yaml(text, Artifact.CONFIG)
    except InputError as error:
        raise InputError(f"{where}: its {str(error).removesuffix(': correct it')}: was it changed by hand?") from None
    if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
        raise InputError(f"{where}: its {Artifact.CONFIG} is not a mapping of settings: was it changed by hand?")
    schema = read.get("schema", 1)
    settings = {key: value for key, value in read.items() if key not in _ABOUT}
    if type(schema) is not int or not 1 <= schema <= SCHEMA_VERSION:
        raise InputError(
            f"{where}: its settings must be of schema 1 to {SCHEMA_VERSION}, got {schema!r:.40}: use the version of "
            "asc-study that made the run"
        )
    for version in range(schema, SCHEMA_VERSION):
        settings = MIGRATIONS[version](settings)
    if isinstance(training := settings.get("training"), dict):
        settings["training"] = {**_BEFORE, **training}
    return resolve(settings, where=where)
