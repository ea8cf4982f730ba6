"""Lets each function of the startup code know the file that it was written in.

All files share one namespace, so the name `__file__` in it is that of the file which loads, and of none later. Each
mention of it becomes the path itself.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType

_NAME = "__file__"


class OwnFile(ast.NodeTransformer):
    """Writes the path of the file where code reads `__file__`, unless the code has a variable of that name."""

    def __init__(self, path: str) -> None:
        self._path = path

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Leave code alone that has such a variable."""
        return node if any(map(_binds, ast.walk(node))) else self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace one mention."""
        return ast.copy_location(ast.Constant(self._path), node) if node.id == _NAME else node


def compile_file(tree: ast.Module, path: Path, name: str) -> CodeType:
    """Compile a file; `name` is what it finds in `__file__`."""
    return compile(OwnFile(name).visit(tree), str(path), "exec", dont_inherit=True)


def _binds(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name) | ast.alias(asname=name):
            return name == _NAME
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return _NAME in names
        case _:
            return False
