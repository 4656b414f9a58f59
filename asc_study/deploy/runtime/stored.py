"""The files of a bundle, read: no byte of one is used whose digest is not the manifest's."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError, shown
from asc_study.base.files import read_input, shown_path

#: Raised when what a bundle's files mean changes.
SCHEMA: Final = 1

#: A file of a bundle: plain names in folders below it.
_NAME: Final = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*")


@dataclass(frozen=True)
class StoredBundle:
    """A bundle on disk: its folder and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def files(self) -> dict[str, str]:
        """Name of each file -> its SHA-256."""
        return {name: str(entry["sha256"]) for name, entry in self.manifest["files"].items()}

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises
        ------
        InputError
            If the manifest does not list it, or it is missing, changed, or outside of the bundle.
        """
        if name not in self.files:
            raise InputError(f"the manifest lists no file {shown(name)}: build the bundle again")
        content = read_input(self.folder / name, "bundle file", within=self.folder)
        if hashlib.sha256(content).hexdigest() != self.files[name]:
            path = shown_path(self.folder / name)
            raise InputError(f"{path} is not the file that the manifest was made for: copy the bundle again")
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object among the files; raises `InputError` as `read`, or if it is none."""
        return _json_object(self.read(name), self.folder / name)

    def verify(self) -> tuple[str, ...]:
        """Read every file, and return those in the folder that the manifest does not know; raises as `read`."""
        for name in self.files:
            self.read(name)
        known = {*self.files, Artifact.MANIFEST}
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir())
        return tuple(sorted(name for name in found if name not in known and "__pycache__" not in name))


def open_bundle(folder: Path) -> StoredBundle:
    """Read the manifest of a bundle.

    Raises
    ------
    InputError
        If there is none, it is not one of this version or an earlier one, or it names a file outside of the bundle.
    """
    path = folder / Artifact.MANIFEST
    manifest = _json_object(read_input(path, "manifest", within=folder), path)
    schema = manifest.get("schema")
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise InputError(
            f"a bundle must be of schema 1 to {SCHEMA}, got {shown(schema)} in {shown_path(path)}: use the version of "
            "asc-study that made it"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and "sha256" in entry for entry in files.values()
    ):
        raise InputError(f"{shown_path(path)} does not list its files with their digests: build the bundle again")
    for name in files:
        if not _NAME.fullmatch(name):
            raise InputError(f"a file of a bundle must lie in it, got {shown(name)} in {shown_path(path)}: distrust it")
    return StoredBundle(folder, manifest)


def _json_object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InputError(f"{shown_path(path)} is not a JSON object: build the bundle again, or copy it again")
    return read
