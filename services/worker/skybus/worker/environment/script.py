"""Runs an uploaded script in the namespace of the startup code."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from skybus.worker.environment.startup import import_folder, reporting

ENGINE_NAMES = ("RE", "db")
"""Names that a script must not replace unless its user asks for it."""
SOURCES_KEPT = 500
"""Scripts whose lines are kept, for the tracebacks of what they have defined."""

_numbers = count(1)
_sources: deque[str] = deque()


def run_script(script: str, namespace: dict[str, Any], *, root: Path | None = None, update_re: bool = False) -> None:
    """Run a script; what ran before a failure stays.

    Args:
        script: Python source text.
        namespace: Where it runs.
        root: Folder for the script's own imports; modules loaded from there are loaded anew by the next script.
        update_re: Let the script replace `RE` and `db`.

    Raises:
        StartupError: The script failed.
    """
    path = str((root or Path()) / "script")
    kept = {name: namespace[name] for name in ENGINE_NAMES if name in namespace}
    importlib.invalidate_caches()
    namespace.update(__file__=path, __name__="__main__")
    try:
        # "stript": clients of the reference look for its words
        with import_folder(root, first=True), _fresh_modules(root), reporting("Failed to execute stript"):
            exec(compile(script, _keep_source(path, script), "exec", dont_inherit=True), namespace)  # noqa: S102
    finally:
        if not update_re:
            _put_back(kept, namespace)


def _keep_source(path: str, script: str) -> str:
    """Keep the lines of a script where tracebacks look for them, and return the name that they have there."""
    name = f"{path}#{next(_numbers)}"
    linecache.cache[name] = (len(script), None, script.splitlines(keepends=True), name)
    _sources.append(name)
    if len(_sources) > SOURCES_KEPT:
        linecache.cache.pop(_sources.popleft(), None)
    return name


def _put_back(kept: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Restore names; a plan that runs meanwhile finds them at any time."""
    namespace.update(kept)
    for name in ENGINE_NAMES:
        if name not in kept:
            namespace.pop(name, None)


@contextmanager
def _fresh_modules(root: Path | None) -> Iterator[None]:
    """Forget the modules that were loaded from a folder meanwhile, so that edits are seen the next time."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            if root and file and Path(file).is_relative_to(root) and not _is_loading(module):
                sys.modules.pop(name, None)


def _is_loading(module: Any) -> bool:
    """Whether another script imports it at this moment."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
