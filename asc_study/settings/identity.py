"""What makes two runs the same run: the only place that makes a signature.

A run's *identity* is everything that decides its result, in the types of JSON: the schema version, the resolved
settings without those that have no effect, the code of the parts that it uses, the content of the files that they
read, and the data set's digest. Its SHA-256 is the *combination*, by which the repeats of a row are grouped; with the
seed it is the *signature*. A row's name and a file's place are not in it. Back end, device and versions of libraries
are not in it either: they are the execution fingerprint (`asc_study.base.provenance`).
"""

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import asc_study.augmentation.copies as copies
import asc_study.features.store as feature_store
from asc_study.augmentation import batch_settings, waveform_settings
from asc_study.base.source import source_digest
from asc_study.models import find_architecture
from asc_study.settings.run_config import RunConfig, canonical_json, flatten

#: Part of every identity: raise it when the meaning of a setting, or code that is not a part's own (training loop, cut
#: of validation, choice of epochs), changes results. `tests/study/test_golden.py` fails when that was forgotten.
SCHEMA_VERSION: Final = 2

_LARGEST_EXACT: Final = 2**53


def run_identity(config: RunConfig, dataset_digest: str, *, teacher: str = "", origin: str = "") -> dict[str, Any]:
    """Everything but the seed that decides the result of a run, in the types of JSON.

    ``teacher`` is the combination of the row that it learns from, if any, ``origin`` that of the row that it continues.

    Raises
    ------
    InputError
        If a file that a part reads is not there or cannot be used.
    """
    versions = {"features": feature_store.FEATURE_VERSION}
    if config.waveform_augmentation:
        versions["waveform"] = copies.WAVEFORM_VERSION
    return {
        "schema": SCHEMA_VERSION,
        "versions": versions,
        "config": _normal(config.identity()),
        "code": code_of_parts(config),
        "dataset": dataset_digest,
        **({"teacher": teacher} if teacher else {}),
        **({"origin": origin} if origin else {}),
    }


def signature(identity: Mapping[str, Any], seed: int | None = None) -> str:
    """SHA-256 (64 hex digits) of an identity and a seed; without a seed it is the combination."""
    content = dict(identity) if seed is None else {**identity, "seed": seed}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def code_of_parts(config: RunConfig) -> dict[str, str]:
    """``kind name`` -> digest of the code of each part that a run uses, built in or not."""
    built_by = find_architecture(config.architecture)
    return {
        f"architecture {config.architecture}": _code(built_by.build, built_by.options_model),
        **{f"batch_augmentation {name}": _code(batch_settings(name)) for name in sorted(config.batch_augmentation)},
        **{
            f"waveform_augmentation {name}": _code(waveform_settings(name))
            for name in sorted(config.waveform_augmentation)
        },
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What tells two identities apart, a line each: ``training.epochs 6 -> 8``; ``-`` is what one does not have.

    Of an identity that is known in part (of a run of an earlier schema), sections that it lacks are not compared.
    """
    known = set(old) & set(new)
    before, after = (dict(_lines({key: identity[key] for key in known})) for identity in (old, new))
    keys = [*after, *(key for key in before if key not in after)]
    return [
        f"{key} {before.get(key, '-')} -> {after.get(key, '-')}" for key in keys if before.get(key) != after.get(key)
    ]


@lru_cache
def _code(*objects: Hashable) -> str:
    return source_digest(*objects)


def _normal(value: Any) -> Any:
    """Numbers in one form, ``1.0`` as ``1``: own parts may declare a setting that takes both."""
    if isinstance(value, Mapping):
        return {str(key): _normal(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    return value


def _lines(identity: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in flatten(identity.get("config", {})).items():
        yield key, canonical_json(value)
    for kind, value in identity.get("versions", {}).items():
        yield f"version of {kind}", str(value)
    for name, digest in identity.get("code", {}).items():
        yield f"code of {name}", digest[:10]
    if "schema" in identity:
        yield "schema", str(identity["schema"])
    if "dataset" in identity:
        yield "data set", identity["dataset"][:10]
    for other in ("teacher", "origin"):
        if other in identity:
            yield other, identity[other][:10]
