"""The namespace of the startup code, as functions in that code reach it: `set_user_ns` and `get_ipython()`."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

INJECTED = ("user_ns", "ipython")
"""Parameters that `set_user_ns` fills in and hides from the signature."""


class UserNamespace:
    """Knows the namespace that plans and functions of this process live in."""

    def __init__(self) -> None:
        self._user_ns: dict[str, Any] = {}
        self._use_ipython = True

    @property
    def user_ns(self) -> dict[str, Any]:
        """The namespace itself, not a copy."""
        return self._user_ns

    @property
    def use_ipython(self) -> bool:
        """Whether a running IPython shell, if there is one, owns the namespace."""
        return self._use_ipython

    def set_user_namespace(self, *, user_ns: dict[str, Any], use_ipython: bool = False) -> None:
        """Say which namespace it is from now on.

        Raises:
            TypeError: `user_ns` is no dictionary.
        """
        if not isinstance(user_ns, dict):
            raise TypeError(f"The user namespace must be a dict, not {type(user_ns).__name__}")
        self._user_ns = user_ns
        self._use_ipython = bool(use_ipython)


USER_NAMESPACE = UserNamespace()


class ShellStandIn:
    """What `get_ipython()` returns to startup code that runs without IPython."""

    def __init__(self, user_ns: dict[str, Any]) -> None:
        self.user_ns = user_ns
        self.log = logging.getLogger("skybus.environment.ipython")

    def __getattr__(self, name: str) -> Any:
        """Refuse what only a shell has; `hasattr` says so, too.

        Raises:
            AttributeError: always.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"get_ipython().{name} needs an IPython kernel, and startup code runs without one here: "
            "start the worker with SKYBUS_USE_IPYTHON_KERNEL=1 (option --use-ipython-kernel=ON)"
        )


def get_ipython() -> ShellStandIn:
    """Return a stand-in for the IPython shell that knows the user namespace."""
    return ShellStandIn(USER_NAMESPACE.user_ns)


def set_user_ns(func: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function or plan the user namespace (and the IPython shell) as `user_ns` (and `ipython`)."""
    signature = inspect.signature(func)
    wants_shell = "ipython" in signature.parameters

    def injected() -> dict[str, Any]:
        shell = _running_shell()
        user_ns = USER_NAMESPACE.user_ns if shell is None else shell.user_ns
        return {"user_ns": user_ns, "ipython": shell} if wants_shell else {"user_ns": user_ns}

    @functools.wraps(func)
    def plan(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return (yield from func(*args, **{**kwargs, **injected()}))

    @functools.wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **{**kwargs, **injected()})

    wrapper = plan if inspect.isgeneratorfunction(func) else function
    visible = [p for name, p in signature.parameters.items() if name not in INJECTED]
    wrapper.__signature__ = signature.replace(parameters=visible)  # pyright: ignore[reportAttributeAccessIssue]
    return wrapper


def _running_shell() -> Any | None:
    """Return the IPython shell if one runs here and owns the namespace; IPython is never imported for this."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not USER_NAMESPACE.use_ipython:
        return None
    return ipython.get_ipython()
