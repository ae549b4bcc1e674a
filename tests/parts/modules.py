"""Our modules, and what each imports, as their syntax trees say it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import tachograph

SOURCE = Path(tachograph.__file__).parent


def modules() -> Iterator[tuple[str, Path]]:
    """Each module's name below ``tachograph``, "" for the package itself, and its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path, lazy: bool) -> set[str]:
    """The modules that ``path`` imports: when it is loaded, or (``lazy``) also later; not those for types only."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), lazy):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if _is_module(name) else str(node.module) for name in names)
    return found


def ours(names: set[str]) -> set[str]:
    """Those of our modules among ``names``, named as by :func:`modules`."""
    below = {name.removeprefix("tachograph.") for name in names if name.startswith("tachograph.")}
    return below | ({""} if "tachograph" in names else set())


def private_uses(path: Path) -> Iterator[tuple[str, str]]:
    """Names with an underscore of others' modules that ``path`` imports or reads: the module, the name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "tachograph":
            for alias in node.names:
                if _is_module(f"{node.module}.{alias.name}"):
                    known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                elif _is_private(alias.name):
                    yield str(node.module), alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and _is_private(node.attr):
            module = known.get(node.value.id)
            if module is not None:
                yield module, node.attr


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        yield from _nodes(node, lazy)


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()
