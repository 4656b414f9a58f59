"""Which code made a result."""

import subprocess
from contextlib import suppress
from pathlib import Path

from asc_study import __version__


def git_commit() -> str:
    """The commit of the code in use (``-dirty`` if it was changed since), or the package's version outside git."""
    folder = Path(__file__).resolve().parent
    with suppress(OSError, subprocess.CalledProcessError):
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if tracked.returncode == 0:  # else the package is installed inside somebody else's repository
            return described.stdout.strip()
    return f"asc-study {__version__}"
