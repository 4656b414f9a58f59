"""What a bundle is run by: it needs LiteRT, NumPy, SciPy and soundfile, and what `CARRIED` names of this package.

A bundle holds a copy of these modules, so that it works where this package is not installed; `asc-study classify` uses
the package's own and never runs code from a bundle.
"""

from pathlib import Path
from typing import Final

_RULES: Final = Path(__file__).parents[2] / "ensemble" / "rules"

#: The modules that a bundle carries, relative to the package; every fusion rule is one.
CARRIED: Final = (
    "base/__init__.py",
    "base/contract.py",
    "base/errors.py",
    "base/files.py",
    "base/plain.py",
    "base/plugins.py",
    "base/taxonomy.py",
    "features/__init__.py",
    "features/front_end.py",
    "features/settings.py",
    "ensemble/__init__.py",
    "ensemble/arrays.py",
    "ensemble/by_device.py",
    "ensemble/fuse.py",
    "ensemble/fusion_file.py",
    "ensemble/logistic.py",
    "ensemble/two_stage.py",
    *sorted(f"ensemble/rules/{file.name}" for file in _RULES.iterdir() if file.suffix == ".py"),
    "deploy/__init__.py",
    "deploy/runtime/__init__.py",
    "deploy/runtime/fusion.py",
    "deploy/runtime/network.py",
    "deploy/runtime/program.py",
    "deploy/runtime/sound.py",
    "deploy/runtime/stored.py",
    "deploy/runtime/system.py",
)
