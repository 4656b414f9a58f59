"""The folder of a bundle: written whole or not at all, and one of a study's system put back where it belongs."""

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from asc_study.base.contract import Artifact
from asc_study.base.errors import InputError
from asc_study.base.files import TEMPORARY, cannot_write, remove_left_over, shown_path, write_file
from asc_study.deploy.runtime.system import load_bundle

#: Where the bundles of studies are, in the working directory.
BUNDLES: Final = Path("bundles")


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write all files beside the folder's place and move them there when they are whole; an empty folder may be there.

    Raises
    ------
    InputError
        If that is not possible, or this version cannot load what was written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(out.parent)
        made = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=out.parent))
    except OSError as error:
        raise cannot_write(out, error) from None
    try:
        for name, content in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(made / name, content)
        made.chmod(0o755)
        load_bundle(made)  # what this version cannot load again must not be found there
        if out.is_dir():
            out.rmdir()
        made.rename(out)
    except OSError as error:
        raise cannot_write(out, error) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def bundle_folder(study: str, system: str, seed: int | None = None) -> Path:
    """The folder of a study's system; ``seed`` tells those of a study with several seeds apart."""
    return BUNDLES / study / (system if seed is None else f"{system}-seed-{seed}")


def manifest_digest(folder: Path) -> str:
    """SHA-256 (64 hex digits) of a bundle's manifest; empty if the folder holds none."""
    with suppress(OSError):
        return hashlib.sha256((folder / Artifact.MANIFEST).read_bytes()).hexdigest()
    return ""


def put_in_place(files: Mapping[str, bytes], digest: str, out: Path, replaceable: Collection[str]) -> bool:
    """Write a bundle unless it is there; returns whether it had to be written.

    Parameters
    ----------
    files, digest
        The bundle, and the digest of its manifest.
    out
        Its folder. An earlier bundle there is replaced, anything else is left alone.
    replaceable
        Digests of the manifests of earlier bundles.

    Raises
    ------
    InputError
        If something else is in the way, or the folder cannot be written.
    """
    there = manifest_digest(out)
    if there == digest:
        return False
    if there in replaceable:
        shutil.rmtree(out)
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(
            f"{shown_path(out)} must be a bundle that a study has made, or not be there, got something else: move it, "
            "and run the study again"
        )
    write_bundle(files, out)
    return True
