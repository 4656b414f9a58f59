"""A bundle: networks, fusion, front end and labels in a folder that runs by itself."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from asc_study import __version__
from asc_study.base.contract import Artifact, Kind, Tag
from asc_study.base.errors import InputError
from asc_study.base.files import shown_path
from asc_study.base.taxonomy import count_in_words, label_column, task_of_classes, taxonomy_of_task
from asc_study.base.text_table import text_table
from asc_study.deploy.bundle_folder import write_bundle
from asc_study.deploy.card import model_card
from asc_study.deploy.measured import measured
from asc_study.deploy.quantise import convert_source, find_quantised
from asc_study.deploy.recipe import Recipe, make_recipe
from asc_study.deploy.runtime import CARRIED
from asc_study.deploy.runtime.fusion import FusionTree
from asc_study.deploy.runtime.network import Network
from asc_study.deploy.runtime.stored import SCHEMA, StoredBundle
from asc_study.deploy.sources import Source, source_of
from asc_study.deploy.tflite import TfliteFile, inspect, require_scheme
from asc_study.evaluation.accuracy_table import accuracy_table
from asc_study.features.logmel import mel_filters
from asc_study.features.settings import FRAMES_LOST_TO_DELTAS, LogMelSettings
from asc_study.store.queries import Reader
from asc_study.store.records import RunRecord
from asc_study.store.stale import members_of

#: What a bundle needs to run, besides Python.
REQUIREMENTS: Final = ("ai-edge-litert>=2.0", "numpy>=2.0", "scipy>=1.13", "soundfile>=0.13")

#: What its figures may depend on.
_VERSIONS: Final = ("ai-edge-litert", "keras", "librosa", "numpy", "scipy", "soundfile", "tensorflow")

_PROGRAM: Final = '''"""Name the scene of recordings: python classify.py CLIP..."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder stays as it was built
sys.path.insert(0, str(FOLDER / "runtime"))

from asc_study.deploy.runtime.program import main  # noqa: E402

main(FOLDER)
'''

_PACKAGE: Final = f'''"""The part of asc-study that a bundle runs by."""

__version__ = "{__version__}"
'''

#: What is told of the bytes of its networks.
_SIZES: Final = ("file_bytes", "stored_bytes", "nonzero_bytes")

#: Windows of all networks must be equally long, to this share.
_SAME_LENGTH: Final = 0.01


@dataclass(frozen=True)
class BundleMember:
    """A network in a bundle.

    Attributes
    ----------
    key
        By which the fusion refers to it.
    source, record
        The trained run that it is of.
    scheme, content, file
        How it was converted, the bytes, and what stands in them.
    proof
        Run of the converted network; None if it was converted just now.
    """

    key: str
    source: Source
    record: RunRecord
    scheme: str
    content: bytes
    file: TfliteFile
    proof: RunRecord | None

    @property
    def front_end(self) -> dict[str, Any]:
        """What it hears, in the types of JSON."""
        settings = self.source.features.at(self.source.sample_rate)
        return {
            "settings": settings.to_dict(),
            "channels": self.source.channels,
            "samples": self.source.clip_samples,
            "mel_filters": f"mel-{settings.filters_name}.npy",
        }


@dataclass(frozen=True)
class BuiltBundle:
    """A bundle as it was built.

    Attributes
    ----------
    files
        All its files by name, the manifest among them.
    manifest
        What the manifest says.
    notes
        What people should know.
    """

    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    notes: Sequence[str]

    @property
    def kilobytes(self) -> float:
        """Size of the files of the networks that run for a clip, in units of 1,024 bytes."""
        return float(self.manifest["sizes"]["file_bytes"]) / 1024

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest (64 hex digits), which holds the digest of every other file."""
        return hashlib.sha256(self.files[Artifact.MANIFEST]).hexdigest()


def build_bundle(
    tracker: Reader, fine: Sequence[str], coarse: Sequence[str], *, fusion: str, scheme: str, out: Path
) -> BuiltBundle:
    """Make a bundle and write it; the same sources give the same bytes.

    Parameters
    ----------
    tracker, fine, coarse, fusion
        See `make_recipe`.
    scheme
        What trained runs are converted to; their run of that scheme is taken where there is one.
    out
        The folder, which must not exist or be empty; it appears when it is whole.

    Raises
    ------
    InputError
        If the networks do not go together, or the folder cannot be written.
    """
    require_scheme(scheme)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"--out must be a new or empty folder, got {shown_path(out)}: name another one")
    built = compose_bundle(tracker, make_recipe(tracker, fine, coarse, fusion), scheme, name=out.name)
    write_bundle(built.files, out)
    return built


def compose_bundle(tracker: Reader, recipe: Recipe, scheme: str, *, name: str) -> BuiltBundle:
    """Make the files of a bundle of that name, and write none; see `build_bundle`."""
    members = [_member(tracker, key, record, scheme) for key, record in recipe.networks.items()]
    notes = _require_alike(members)
    records = {member.key: member.proof or member.record for member in members}
    converted = sum(member.proof is not None for member in members)
    files, manifest = _files(members, recipe.tree, name, *measured(tracker, recipe, records, converted))
    return BuiltBundle(files, manifest, notes)


def _member(tracker: Reader, key: str, record: RunRecord, scheme: str) -> BundleMember:
    found: RunRecord | None
    proof: RunRecord | None
    if record.tags[Tag.KIND] == Kind.QUANTISED:
        (trained_id,) = members_of(record)
        found, proof, scheme = tracker.run(trained_id), record, record.params["scheme"]
        if found is None:
            raise InputError(f"the run that {record.label!r} was made of was deleted from the store: train it again")
    else:
        found, proof = record, find_quantised(tracker, record, scheme)
    source = source_of(tracker, found)
    if proof is None:
        content, file = convert_source(source, scheme)
    else:
        content = tracker.artifact(proof.run_id, Artifact.TFLITE).read_bytes()
        file = inspect(content)
        if not source.samples:  # earlier versions did not log how long the clips are: the network knows
            source = replace(source, samples=_clip_samples(content, source))
    return BundleMember(key, source, found, scheme, content, file, proof)


def _clip_samples(content: bytes, source: Source) -> int:
    """The shortest clip that gives the frames which a network takes."""
    _, frames, _ = Network(content).input_shape
    return (frames + FRAMES_LOST_TO_DELTAS - 1) * source.features.hop_length


def _require_alike(members: Sequence[BundleMember]) -> list[str]:
    """Refuse members that cannot be one system; returns what people should know."""
    first = members[0].source
    for member in members:
        seconds = member.source.clip_samples / member.source.sample_rate
        if abs(seconds / (first.clip_samples / first.sample_rate) - 1) > _SAME_LENGTH:
            raise InputError(
                f"the networks of a bundle must hear clips of one length, got {member.source.name!r} with {seconds:g} "
                f"s and {first.name!r} with {first.clip_samples / first.sample_rate:g} s: train them on such clips"
            )
    unknown = [member.source.name for member in members if not member.source.samples]
    return [f"clips of ten seconds are assumed for {', '.join(unknown)}, whose runs do not say"] if unknown else []


def _files(
    members: Sequence[BundleMember], tree: FusionTree, name: str, metrics: Mapping[str, float], measured_on: str
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """All files of a bundle by name, and the manifest among them."""
    front_ends = [member.front_end for member in members]
    unique = [entry for number, entry in enumerate(front_ends) if entry not in front_ends[:number]]
    names = _file_names(members)
    labels: dict[str, Any] = {"classes": list(tree.classes)}
    task = task_of_classes(tree.classes)
    groups = dict(taxonomy_of_task(task).groups) if task and label_column(task) == "scene" else {}
    labels |= {"groups": groups} if groups else {}
    files = {file: member.content for file, member in zip(names, members, strict=True)}
    files |= {Artifact.FUSION: _json(tree.to_dict()), "labels.json": _json(labels)}
    files |= {"front_end.json": _json({"front_ends": unique})}
    files |= {entry["mel_filters"]: _npy(mel_filters(LogMelSettings(**entry["settings"]))) for entry in unique}
    files |= {"requirements.txt": ("\n".join(REQUIREMENTS) + "\n").encode(), "classify.py": _PROGRAM.encode()}
    files |= _runtime()
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "system": _described(members),
        "classes": list(tree.classes),
        "seconds": members[0].source.clip_samples / members[0].source.sample_rate,
        "dataset": ", ".join(sorted({member.record.tags.get(Tag.DATASET, "unknown") for member in members})),
        "members": [
            {
                "key": member.key,
                "file": file,
                "task": member.source.task,
                "front_end": unique.index(member.front_end),
                "scheme": member.scheme,
                "source": member.source.name,
                "run_id": member.record.run_id,
                "signature": member.record.signature,
                "quantised_run_id": member.proof.run_id if member.proof else None,
                "bytes": len(member.content),
            }
            for file, member in zip(names, members, strict=True)
        ],
        # Of what runs for a clip: of a system by device the largest of its models.
        "sizes": {size: tree.most({one.key: getattr(one.file, size) for one in members}) for size in _SIZES},
        **({"devices": list(tree.devices)} if tree.devices else {}),
        "metrics": dict(sorted(metrics.items())),
        "measured_on": measured_on,
        "versions": {"asc-study": __version__, **{package: version(package) for package in _VERSIONS}},
    }
    files["README.md"] = model_card(manifest, REQUIREMENTS).encode()
    manifest["files"] = {
        file: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for file, content in sorted(files.items())
    }
    files[Artifact.MANIFEST] = _json(manifest)
    return files, manifest


def _file_names(members: Sequence[BundleMember]) -> list[str]:
    count = Counter[str]()
    names = []
    for member in members:
        count[member.source.task] += 1
        names.append(f"members/{member.source.task}-{count[member.source.task]}.tflite")
    return names


def _described(members: Sequence[BundleMember]) -> str:
    count = Counter(f"{count_in_words(member.source.task)}-class" for member in members)
    parts = [f"{number} {name} network{'s' if number > 1 else ''}" for name, number in count.items()]
    return ("two stages, " if len(count) > 1 else "") + " and ".join(parts)


def _runtime() -> dict[str, bytes]:
    """The program that a bundle carries: the same sources that this package runs."""
    package = Path(__file__).resolve().parents[1]
    files = {f"runtime/asc_study/{name}": (package / name).read_bytes() for name in CARRIED}
    licence = next(path for path in (package / "LICENSE", package.parent / "LICENSE") if path.is_file())
    return {**files, "runtime/asc_study/__init__.py": _PACKAGE.encode(), "runtime/LICENSE": licence.read_bytes()}


def _npy(values: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def show(stored: StoredBundle) -> str:
    """What a bundle is, as text.

    Raises
    ------
    InputError
        If its manifest is not as this version writes it.
    """
    try:
        return _shown(stored.manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{shown_path(stored.folder)} is no bundle of this version ({error!r:.100}): build it"
        ) from None


def _shown(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"{manifest['name']}: {manifest['system']}; {manifest['sizes']['file_bytes'] / 1024:,.1f} kB of networks",
        text_table(
            [
                ["File", "Task", "Source", "Scheme", "kB"],
                *(
                    [m["file"], m["task"], m["source"], m["scheme"], f"{m['bytes'] / 1024:,.1f}"]
                    for m in manifest["members"]
                ),
            ],
            left=(0, 1, 2, 3),
        ),
    ]
    if manifest["metrics"]:
        lines += ["", accuracy_table({manifest["name"]: manifest["metrics"]})]
        lines.append(f"test accuracy in %, log loss in nats; measured on {manifest['measured_on']}")
    else:
        lines.append("not tested: its networks have no predictions of the same test clips")
    return "\n".join(lines)
