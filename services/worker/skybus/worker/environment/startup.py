"""Loads startup code (a directory of files, a script, or a module) into one namespace."""

from __future__ import annotations

import ast
import importlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from skybus.bus.error_text import formatted, said, traceback_of
from skybus.worker.environment.own_file import compile_file
from skybus.worker.environment.own_process import in_this_process
from skybus.worker.environment.registry import REGISTRY
from skybus.worker.environment.startup_files import find_startup_files
from skybus.worker.environment.startup_module import import_into
from skybus.worker.environment.user_namespace import USER_NAMESPACE, get_ipython

IPYTHON_MODULES = ("IPython", "IPython.core.getipython")
"""Modules from which startup files import `get_ipython`."""

_HEADER = "Traceback (most recent call last):\n"
_OURS = str(Path(__file__).parent)


class StartupError(Exception):
    """Startup code or an uploaded script failed."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback or message
        """The traceback as text; it starts in the user's own file."""


@dataclass(frozen=True)
class StartupSource:
    """Where startup code comes from: exactly one of directory, script and module."""

    directory: Path | None = None
    script: Path | None = None
    module: str | None = None
    keep_re: bool = True
    """Accepted without effect, as bluesky-queueserver does: the RunEngine is always that of the startup code."""

    def __post_init__(self) -> None:
        given = [value for value in (self.directory, self.script, self.module) if value]
        if len(given) != 1:
            raise ValueError(f"Name one source of startup code: a directory, a script or a module, not {len(given)}")

    @property
    def root(self) -> Path | None:
        """The folder from which startup code and uploaded scripts import their own modules."""
        if self.directory:
            return _absolute(self.directory)
        return _absolute(self.script).parent if self.script else None


def load_startup(source: StartupSource, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run startup code and return the namespace that it filled.

    Args:
        source: Where the code comes from.
        namespace: Filled in place if given; a new one otherwise.

    Raises:
        StartupError: The code is not there or it failed.
    """
    namespace = {} if namespace is None else namespace
    REGISTRY.clear()
    importlib.invalidate_caches()
    USER_NAMESPACE.set_user_namespace(user_ns=namespace, use_ipython=False)
    if source.directory:
        _load_directory(_absolute(source.directory), namespace)
    elif source.script:
        _load_script(_absolute(source.script), namespace)
    elif source.module:
        _load_module(source.module, namespace)
    return namespace


def _load_directory(directory: Path, namespace: dict[str, Any]) -> None:
    if not directory.is_dir():
        raise StartupError(f"Startup directory '{directory}' does not exist or is not a directory")
    files = find_startup_files(directory).files
    if not files:
        raise StartupError(f"Startup directory '{directory}' contains no startup files (*.py, *.ipy)")
    namespace["get_ipython"] = get_ipython
    with import_folder(directory, first=False):
        for path in files:
            _execute_file(path, namespace)


def _load_script(script: Path, namespace: dict[str, Any]) -> None:
    if not script.is_file():
        raise StartupError(f"Startup script '{script}' does not exist")
    with import_folder(script.parent, first=True):
        _execute_file(script, namespace)


def _load_module(name: str, namespace: dict[str, Any]) -> None:
    with reporting(f"Error while loading module {name!r}"):
        import_into(namespace, name)


def _execute_file(path: Path, namespace: dict[str, Any]) -> None:
    """Run one file as `__main__`, with `__file__` set while it runs."""
    namespace.update(__file__=str(path), __name__="__main__")
    try:
        with reporting(f"Error while executing script '{path}'"):
            tree = _StandInImports().visit(ast.parse(path.read_bytes(), filename=str(path)))
            exec(compile_file(tree, path, str(path)), namespace)  # noqa: S102
    finally:
        namespace.pop("__file__", None)


class _StandInImports(ast.NodeTransformer):
    """Let `from IPython import get_ipython` in a startup file yield our stand-in; line numbers stay."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.AST]:
        if node.module not in IPYTHON_MODULES:
            return node
        ours = [alias for alias in node.names if alias.name == "get_ipython"]
        if not ours:
            return node
        theirs = [alias for alias in node.names if alias.name != "get_ipython"]
        stand_in = ast.ImportFrom(module=get_ipython.__module__, names=ours, level=0)
        rest: list[ast.AST] = [ast.ImportFrom(module=node.module, names=theirs, level=node.level)] if theirs else []
        return [ast.copy_location(new, node) for new in (stand_in, *rest)]


_folders: Counter[str] = Counter()
"""Folders that were put into `sys.path`, and how many need them there: scripts may run side by side."""
_folders_lock = threading.Lock()


@contextmanager
def import_folder(folder: Path | None, *, first: bool) -> Iterator[None]:
    """Make modules beside the startup code importable while it loads."""
    name = str(folder) if folder else ""
    with _folders_lock:
        is_ours = bool(name) and (name in _folders or name not in sys.path)
        if is_ours:
            if name not in sys.path:
                sys.path.insert(0 if first else len(sys.path), name)
            _folders[name] += 1
    try:
        yield
    finally:
        if is_ours:
            _leave_folder(name)


def _leave_folder(name: str) -> None:
    with _folders_lock:
        _folders[name] -= 1
        if _folders[name] <= 0:
            del _folders[name]
            if name in sys.path:
                sys.path.remove(name)


@contextmanager
def reporting(what: str) -> Iterator[None]:
    """Turn any failure of user code into a StartupError."""
    try:
        with in_this_process():
            yield
    except BaseException as error:  # startup code that calls exit() must not end the process
        message = f"{what}: {said(error) or type(error).__name__}"
        text = formatted(error, user_part(traceback_of(error)))
        if not text.startswith(_HEADER):  # code that could not be compiled has no frame
            text = _HEADER + text
        raise StartupError(message, f"{text}\n{message}") from error


def user_part(tb: TracebackType | None) -> TracebackType | None:
    """Drop the frames of this package and of the import machinery, so that the user's file comes first."""
    while tb and _is_machinery(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _is_machinery(filename: str) -> bool:
    return filename in (ast.__file__, importlib.__file__) or filename.startswith(("<frozen importlib", _OURS))


def _absolute(path: Path) -> Path:
    return Path(path).expanduser().absolute()
