"""The public interface: `asc_study.__all__`, its sources and its line in the documents agree."""

import ast
import inspect
import pickle
import re
from pathlib import Path
from subprocess import run
from sys import executable

import pytest

import asc_study

ROOT = Path(__file__).parents[1]
LAZY = [name for name in asc_study.__all__ if name != "__version__"]


def test_the_list_is_sorted_and_complete() -> None:
    assert asc_study.__all__ == sorted(set(asc_study.__all__))
    assert set(LAZY) == set(asc_study._HOMES)
    assert set(asc_study.__all__) <= set(dir(asc_study))


def test_type_checkers_see_what_the_interpreter_sees() -> None:
    tree = ast.parse(Path(asc_study.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {name: f"asc_study.{home}" for name, home in asc_study._HOMES.items()}


@pytest.mark.parametrize("name", LAZY)
def test_a_public_name_is_defined_where_it_says_and_explains_itself(name: str) -> None:
    found = getattr(asc_study, name)
    assert found.__module__ == f"asc_study.{asc_study._HOMES[name]}"
    assert found.__name__ == name
    assert inspect.getdoc(found)
    assert pickle.loads(pickle.dumps(found)) is found
    assert inspect.getsourcefile(found)


def test_another_name_is_an_error_that_says_so() -> None:
    with pytest.raises(AttributeError, match="module 'asc_study' has no attribute 'run_studies'"):
        _ = asc_study.run_studies
    with pytest.raises(ImportError, match="cannot import name 'run_studies'"):
        from asc_study import run_studies  # noqa: F401


def test_one_name_brings_only_what_it_needs() -> None:
    code = "import sys; from asc_study import InputError; print(sorted(n for n in sys.modules if 'asc_study.' in n))"
    shown = run([executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "['asc_study.base', 'asc_study.base.errors']\n"


def test_a_star_import_gives_all_of_them() -> None:
    names: dict[str, object] = {}
    exec("from asc_study import *", names)
    assert set(asc_study.__all__) <= set(names)


def test_the_reference_lists_exactly_the_public_names() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    section = re.search(r"^## Python\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, "docs/reference.md has no section `## Python`"
    listed = re.findall(r"^\| `(\w+)", section[1], re.MULTILINE)
    assert sorted(listed) == asc_study.__all__
