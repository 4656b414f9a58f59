"""YAML in, plain values out: of a file or of one setting, strict and bounded, and with one line for whatever is wrong.

A short text can stand for a huge content: an alias repeats what it names, a merge key copies it. What a text would
become is therefore counted on its graph of nodes, in which a repeated node stands once, before anything is made of it.
"""

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from asc_study.base.errors import InputError, shown
from asc_study.base.files import INPUT_KINDS, read_input_text, shown_path

#: Values that a text may become, every one that an alias or a merge key repeats counted again.
LARGEST_CONTENT: Final = 200_000

#: Characters of a number; one in base 60 (1:30:00) of a megabyte would take hours to read.
_LONGEST_NUMBER: Final = 100

_MERGE: Final = "tag:yaml.org,2002:merge"
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


@dataclass(frozen=True)
class YamlFile:
    """A file that was read: its text, and the mapping that it holds."""

    text: str
    content: dict[str, Any]


def read_yaml(path: Path, kind: str = "study", keys: str = "`study` and `rows`") -> YamlFile:
    """Read a file of some kind (of `asc_study.base.files.INPUT_KINDS`) that must hold a mapping with these keys.

    Raises
    ------
    InputError
        One line for whatever is wrong with it.
    """
    text = read_input_text(path, kind)
    what = f"{INPUT_KINDS[kind].what} {shown_path(path)}"
    content = parse_yaml(text, what)
    if not isinstance(content, dict):
        raise InputError(f"{what} must hold a mapping with {keys}, got {shown(content)}: write it as KEY: VALUE")
    return YamlFile(text, content)


def parse_yaml(text: str, what: str) -> Any:
    """The content of a YAML text.

    Raises
    ------
    InputError
        One line for whatever is wrong with it, which begins with ``what``.
    """
    try:
        return _load(text)
    except _Unusable as error:
        raise InputError(f"{what} is not valid YAML: {error}: correct it") from None


def parse_override(text: str) -> tuple[str, Any]:
    """Take ``KEY=VALUE`` apart; the value is YAML.

    Raises
    ------
    InputError
        If it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set takes KEY=VALUE, got {shown(text)}: for example --set training.epochs=2")
    try:
        return key.strip(), _load(value)
    except _Unusable as error:
        raise InputError(
            f"--set {key.strip():.100}: the value must be YAML, got {shown(value)} ({error}): quote it"
        ) from None


class _Unusable(ValueError):
    """Why a text cannot be used, in one line."""


class _Loader(yaml.SafeLoader):
    """YAML as people write it: ``1e-5`` is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):  # a sequence with the tag !!map
            raise yaml.constructor.ConstructorError(None, None, "a mapping was expected", node.start_mark)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        for key, count in Counter(map(str, keys)).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {shown(key)} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        # A value that its tag does not fit, such as !!bool 'zzz' or the date 2020-13-45: each constructor has its own.
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            tag, value = (
                node.tag.rpartition(":")[2],
                node.value if isinstance(node, yaml.ScalarNode) else "a collection",
            )
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(value)} is no {tag}", node.start_mark
            ) from None


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _load(text: str) -> Any:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_bounded(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _Unusable(" ".join(str(error).split())[:300]) from None
    except RecursionError:
        raise _Unusable("it is nested too deeply") from None


def _require_bounded(node: yaml.Node) -> None:
    """Raise `_Unusable` for a node that holds itself, or becomes more values than `LARGEST_CONTENT`."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                raise _Unusable(
                    f"a number may have at most {_LONGEST_NUMBER} characters, got {len(node.value):,}, "
                    f"line {node.start_mark.line + 1}"
                )
            return 1
        known = sizes.get(id(node))
        if known == 0:
            raise _Unusable(f"an anchor is used inside its own value, line {node.start_mark.line + 1}")
        if known is None:
            sizes[id(node)] = 0  # begun
            parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            known = sizes[id(node)] = 1 + sum([size(part) for part in parts])
        if known > LARGEST_CONTENT:
            raise _Unusable(
                f"it becomes more than {LARGEST_CONTENT:,} values by its aliases and merge keys, "
                f"line {node.start_mark.line + 1}"
            )
        return known

    size(node)
