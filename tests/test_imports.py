"""The order of the stages, held on the source: who may import whom, who may import what is heavy.

Nothing here imports what it checks, but for the last test, so that a broken module fails as itself.
"""

import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Final

import pytest

import asc_study

PACKAGE: Final = Path(asc_study.__file__).parent

#: The stages, in the order in which data pass them. A module imports from its own stage and from those before it.
STAGES: Final = (
    "base",
    "workers",
    "acoustics",
    "data",
    "simulation",
    "features",
    "augmentation",
    "models",
    "settings",
    "evaluation",
    "training",
    "ensemble",
    "store",
    "figures",
    "systems",
    "deploy",
    "study",
    "search",
    "testing",
    "cli",
)

#: All that may lie beside the stages.
LOOSE: Final = {"__init__.py", "__main__.py", "py.typed"}

#: Who may import MLflow: `deploy` for the pyfunc class of a bundle.
MLFLOW_STAGES: Final = {"store", "deploy"}

#: Module -> packages that importing it must not load, from light to less light. The last two run on small devices.
LIGHT: Final = {
    "asc_study": {"click", "h5py", "keras", "mlflow", "numpy", "optuna", "pandas", "pydantic", "sklearn", "tensorflow"},
    "asc_study.cli": {"keras", "mlflow", "numpy", "optuna", "pandas", "pydantic", "scipy", "sklearn", "tensorflow"},
    "asc_study.models": {"h5py", "jax", "keras", "librosa", "mlflow", "pandas", "tensorflow"},
    "asc_study.models.catalogue": {"h5py", "jax", "keras", "mlflow", "pandas", "scipy", "tensorflow"},
    "asc_study.study.plan": {"jax", "keras", "librosa", "numba", "scipy.signal", "sklearn", "tensorflow"},
    "asc_study.study.run_study": {
        "alembic", "h5py", "jax", "keras", "librosa", "mlflow", "numba", "optuna", "plotly", "pyarrow.parquet", "scipy",
        "sklearn", "sqlalchemy", "tensorflow",
    },
    "asc_study.study.leaderboard": {"alembic", "keras", "librosa", "mlflow", "numba", "plotly", "scipy", "sqlalchemy"},
    "asc_study.features.store": {"keras", "librosa", "mlflow", "numba", "pandas", "scipy", "sklearn", "tensorflow"},
    "asc_study.study.status": {"jax", "keras", "librosa", "numba", "scipy", "sklearn", "tensorflow"},
    "asc_study.augmentation": {
        "keras", "librosa", "mlflow", "numba", "pandas", "pyroomacoustics", "scipy", "tensorflow",
    },
    "asc_study.features.front_end": {"keras", "librosa", "mlflow", "numba", "pandas", "tensorflow"},
    "asc_study.deploy.runtime": {"keras", "librosa", "mlflow", "numba", "pandas", "tensorflow"},
}  # fmt: skip


def sources(package: Path) -> list[Path]:
    """The modules of all stages; those that lie beside the stages stand above them and may import any."""
    return sorted(path for path in package.rglob("*.py") if path.parent != package)


def imported(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of a module: in functions, under TYPE_CHECKING, relative, by name."""
    own = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(own[: len(own) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:  # each may be a module of the package `base`, or a name in the module `base`
                yield node.lineno, ".".join([*base, alias.name])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            for argument in node.args[:1]:
                yield node.lineno, argument.value if isinstance(argument, ast.Constant) else ""


def imported_at_once(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Those of the imports that happen when the module is imported: not in functions, not under TYPE_CHECKING."""
    at_once = {
        node.lineno
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return ((line, name) for line, name in imported(path, package) if line in at_once)


def against_the_flow(package: Path) -> list[str]:
    """One line for each import of a later stage, or of the public names, which come from all stages."""
    found = []
    for path in sources(package):
        stage = path.relative_to(package).parts[0]
        for line, name in imported(path, package):
            parts = name.split(".")
            if parts[0] != package.name or parts[1:] == ["__version__"]:
                continue
            target = parts[1] if len(parts) > 1 else ""
            if target not in STAGES:
                found.append(f"{path.relative_to(package)}:{line} imports {name}, which is no stage")
            elif STAGES.index(target) > STAGES.index(stage):
                found.append(f"{path.relative_to(package)}:{line} ({stage}) imports {name}: a later stage")
    return found


def importers_of(name: str, package: Path) -> set[str]:
    """The stages that import a package by any way."""
    return {
        path.relative_to(package).parts[0]
        for path in sources(package)
        for _, module in imported(path, package)
        if module.split(".")[0] == name
    }


def test_imports_go_with_the_flow() -> None:
    assert against_the_flow(PACKAGE) == []


def test_only_the_store_imports_mlflow() -> None:
    assert importers_of("mlflow", PACKAGE) <= MLFLOW_STAGES


def test_the_top_level_holds_stages_only() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found - set(STAGES) - LOOSE == set()


def test_every_stage_says_what_it_is() -> None:
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    without = [path.name for path in folders if not ast.get_docstring(ast.parse((path / "__init__.py").read_text()))]
    assert without == []


PLANTED = [
    "import asc_study.cli",
    "import asc_study.cli.options as options",
    "from asc_study.search import space",
    "from asc_study import study",
    "from asc_study import run_study",
    "import asc_study",
    "from ..systems import rows",
    "from ..systems.rows import log_rows",
    "from .. import search",
    "def later():\n    from asc_study.systems.rows import log_rows\n    return log_rows",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from asc_study.store.tracking import Tracker",
    "from importlib import import_module\nimport_module('asc_study.systems.rows')",
    "import importlib\nimportlib.import_module('asc_study.systems')",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_an_import_against_the_flow_is_found(planted: str, tmp_path: Path) -> None:
    package = tmp_path / "asc_study"
    (package / "features").mkdir(parents=True)
    copy = Path(shutil.copy(PACKAGE / "features" / "logmel.py", package / "features"))
    assert against_the_flow(package) == []
    with copy.open("a", encoding="utf-8") as file:
        file.write(f"\n{planted}\n")
    (line,) = against_the_flow(package)
    assert line.startswith("features/logmel.py:")


@pytest.mark.parametrize(
    "allowed",
    [
        "from asc_study import __version__",
        "from asc_study.base.errors import InputError",
        "from . import store",
        "from .audio import Recording",
        "from ..base import errors",
        "import numpy.random",
        "import asc_studying",
    ],
)
def test_an_import_with_the_flow_is_none(allowed: str, tmp_path: Path) -> None:
    package = tmp_path / "asc_study"
    (package / "features").mkdir(parents=True)
    (package / "features" / "planted.py").write_text(allowed + "\n", encoding="utf-8")
    assert against_the_flow(package) == []


@pytest.mark.parametrize(
    "planted", ["import mlflow", "from mlflow.entities import Run", "def f():\n    import mlflow.keras"]
)
def test_an_import_of_mlflow_is_found(planted: str, tmp_path: Path) -> None:
    package = tmp_path / "asc_study"
    (package / "study").mkdir(parents=True)
    (package / "study" / "planted.py").write_text(planted + "\n", encoding="utf-8")
    assert importers_of("mlflow", package) == {"study"}


def exists(module: str) -> bool:
    """Whether a module is there yet; found without importing it."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("module", [module for module in LIGHT if exists(module)])
def test_importing_a_light_module_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(sorted({LIGHT[module]} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


#: All that a bundle's runtime may import, besides Python's own library and itself.
CARRIED_MAY_IMPORT: Final = {"ai_edge_litert", "numpy", "scipy", "soundfile"}


def test_what_a_bundle_carries_needs_four_packages_and_nothing_that_it_does_not_carry() -> None:
    from asc_study.deploy.runtime import CARRIED

    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in CARRIED}
    strangers = []
    for name in CARRIED:
        # Rules import what only fitting needs when they fit; nothing looks for parts of one's own here.
        whole = not name.startswith(("base/", "ensemble/"))
        for line, module in imported(PACKAGE / name, PACKAGE) if whole else imported_at_once(PACKAGE / name, PACKAGE):
            top, _, rest = module.partition(".")
            carried = rest in modules or rest.rpartition(".")[0] in modules or rest == "__version__"
            if not (carried if top == PACKAGE.name else top in CARRIED_MAY_IMPORT | sys.stdlib_module_names):
                strangers.append(f"{name}:{line} imports {module}")
    assert strangers == []


def test_a_bundle_carries_its_whole_runtime() -> None:
    from asc_study.deploy.runtime import CARRIED

    runtime = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "deploy" / "runtime").glob("*.py")}
    rules = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "ensemble" / "rules").glob("*.py")}
    assert runtime | rules <= set(CARRIED)
    assert "features/front_end.py" in CARRIED
