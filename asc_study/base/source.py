"""What the code of a part is: a digest that changes when the part may compute something else, and only then.

A part's code is its own definition and every definition that it uses, directly or not, in its own package (for a single
file: in the files beside it). Comments, docstrings, layout, annotations of functions and the wording of errors are left
out, and so is the place of a definition, also where a function imports it: code that only moves stays the same. Other
packages are not followed; which version of them computes is a matter of `asc_study.base.provenance`.
"""

import ast
import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

#: Modules of our own that carry no computation of a part: messages, paths, progress.
_NOT_FOLLOWED: Final = ("asc_study.base.", "asc_study.workers.", "asc_study.testing.")


@dataclass(frozen=True)
class _Module:
    """A parsed file: the statements that bind each of its top-level names, and what its imports stand for."""

    name: str
    file: Path
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    #: Id of a statement of ``definitions`` and package -> what `_Collector` takes of it: parts share much code.
    read: dict[tuple[int, str], "_Statement"] = field(default_factory=dict)


@dataclass(frozen=True)
class _Statement:
    """The text of a statement without what has no effect, the names that it reads, and what it imports itself."""

    text: str
    names: tuple[str, ...]
    imports: dict[str, tuple[str, str | None]]


def source_digest(*objects: Any) -> str:
    """SHA-256 of the code of functions or classes; of those without source at hand only the names count.

    Parameters
    ----------
    *objects
        Functions or classes that are defined at the top level of a module.
    """
    collected: set[str] = set()
    for found in objects:
        while isinstance(found, partial):
            collected.add(f"{found.args} {sorted(found.keywords.items())}")
            found = found.func
        if not inspect.isroutine(found) and not isinstance(found, type):
            found = type(found)  # an object that can be called
        try:
            file = Path(inspect.getsourcefile(found) or "").resolve(strict=True)
        except (OSError, TypeError):  # compiled, or made in an interactive session
            collected.add(f"{found.__module__}.{found.__qualname__}")
            continue
        _Collector(found.__module__, file, collected).take_root(found.__module__, found.__qualname__.partition(".")[0])
    return hashlib.sha256("\n".join(sorted(collected)).encode()).hexdigest()


def package_digest() -> str:
    """SHA-256 of all of our own code as it is on this disk: of what is made again when any of it changes."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


class _Collector:
    """Gathers the definitions that a name needs, over all modules of its package."""

    def __init__(self, module: str, file: Path, collected: set[str]) -> None:
        depth = module.count(".") + (file.name == "__init__.py")
        self._package, self._root = module.partition(".")[0], file.parents[depth]
        self._alone = "." not in module and file.name != "__init__.py"
        self._collected, self._seen = collected, set[tuple[str, str | None]]()

    def take_root(self, module_name: str, name: str) -> None:
        """Add what a part is; one that has no name of its own (a lambda) is its whole module."""
        module = self._find(module_name)
        self.take(module_name, name if module and name in module.definitions else None)

    def take(self, module_name: str, name: str | None) -> None:
        """Add a name of a module, or all of its names, with all that they use."""
        if (module_name, name) in self._seen:
            return
        self._seen.add((module_name, name))
        module = self._find(module_name)
        if module is None:
            if name and (above := self._find(f"{module_name}.{name}")):
                self.take(above.name, None)
            return
        if name is None:
            for each in module.definitions:
                self.take(module_name, each)
        elif name in module.definitions:
            for statement in module.definitions[name]:
                self._add(module, statement)
        elif name in module.imports:
            self.take(*module.imports[name])
        elif self._find(f"{module_name}.{name}"):  # `from package import module`
            self.take(f"{module_name}.{name}", None)

    def _add(self, module: _Module, statement: ast.stmt) -> None:
        key = id(statement), self._package
        if key not in module.read:
            module.read[key] = self._read(module, statement)
        found = module.read[key]
        self._collected.add(found.text)
        for name in found.names:
            if name in found.imports:
                self.take(*found.imports[name])
            elif name in module.definitions or name in module.imports:
                self.take(module.name, name)

    def _read(self, module: _Module, statement: ast.stmt) -> _Statement:
        plain = _Plain().visit(ast.parse(ast.unparse(statement)))
        local = dict(_imported(plain, module))
        text = _text(_Placeless(self._package).visit(plain))
        loaded = (node for node in ast.walk(plain) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        return _Statement(text, tuple(dict.fromkeys(node.id for node in loaded)), local)

    def _find(self, name: str) -> _Module | None:
        """The module of that name if it belongs to the package, parsed."""
        own = self._alone or name == self._package or name.startswith(f"{self._package}.")
        if not own or f"{name}.".startswith(_NOT_FOLLOWED):
            return None
        place = self._root.joinpath(*name.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                status = file.stat()
                return _parse(name, file, status.st_mtime_ns, status.st_size)
        return None


@lru_cache(maxsize=256)
def _parse(name: str, file: Path, changed: int, size: int) -> _Module:
    module = _Module(name, file)
    for statement in _flat(ast.parse(file.read_bytes()).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports.update(_imported(statement, module))
        for bound in _bound(statement):
            module.definitions.setdefault(bound, []).append(statement)
    return module


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those inside ``if`` and ``try`` too."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _flat([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handlers = [inner for handler in statement.handlers for inner in handler.body]
            yield from _flat([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
        else:
            yield statement


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _imported(tree: ast.AST, module: _Module) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Name -> (module, name in it or None for the module itself), of every import in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname or alias.name.partition(".")[0]), (alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = module.name.split(".")
                kept = len(parts) - node.level + (module.file.name == "__init__.py")
                source = ".".join([*parts[:kept], *([source] if source else [])])
            for alias in node.names:
                yield (alias.asname or alias.name), (source, alias.name)


class _Plain(ast.NodeTransformer):
    """Leaves out what has no effect on a result: docstrings, annotations of functions, the wording of errors."""

    def _function(self, node: Any) -> Any:
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        return self._body(node)

    def _body(self, node: Any) -> Any:
        node.body = [
            inner
            for inner in node.body
            if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))  # a docstring
        ] or [ast.Pass()]
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _function
    visit_ClassDef = visit_Module = _body

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)


class _Placeless(ast.NodeTransformer):
    """Leaves out from which of the package's own modules a function imports: what it gets from there is followed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        own = node.level or f"{node.module}.".startswith(f"{self._package}.")
        return ast.ImportFrom(module="", names=node.names, level=0) if own else node


def _text(node: Any) -> str:
    """A dump that is the same in every Python version: fields that are empty are left out."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"]
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    return repr(node)
