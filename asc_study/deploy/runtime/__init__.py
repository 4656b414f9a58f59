"""What a bundle is run by: it needs LiteRT, NumPy, SciPy and soundfile, and what `CARRIED` names of this package.

A bundle holds a copy of these modules, so that it works where this package is not installed; `asc-study classify` uses
the package's own and never runs code from a bundle.
"""

from typing import Final

#: The modules that a bundle carries, relative to the package.
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
    "ensemble/__init__.py",
    "ensemble/arrays.py",
    "ensemble/fuse.py",
    "ensemble/fusion_file.py",
    "ensemble/logistic.py",
    "ensemble/two_stage.py",
    "ensemble/rules/__init__.py",
    "ensemble/rules/average.py",
    "ensemble/rules/logistic.py",
    "ensemble/rules/product.py",
    "ensemble/rules/weighted.py",
    "deploy/__init__.py",
    "deploy/runtime/__init__.py",
    "deploy/runtime/fusion.py",
    "deploy/runtime/network.py",
    "deploy/runtime/program.py",
    "deploy/runtime/sound.py",
    "deploy/runtime/stored.py",
    "deploy/runtime/system.py",
)
