"""Objects that only the process that made them can use: a fork copies memory, but no threads and no devices."""

import ctypes
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self

from partsight.runtime.core.errors import PartsightError

_REMEDY = (
    "create it in the process that uses it (gunicorn: in the hook post_fork, or without --preload; multiprocessing: "
    "in the worker, or with the start method 'spawn'; daemon: after its last fork)"
)

# By ctypes: the end of the interpreter drops every reference that Python code can hold.
_keep_forever = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))


class ProcessBound:
    """Base of objects that work only in the process that made them.

    In a forked copy, a call would wait forever for a thread that does not exist. So in any other process each public
    method and property raises at once, and `close` and the end of a `with` block do nothing. Such objects cannot be
    pickled or copied, unless a subclass defines `__reduce__`.

    A subclass names the class of the error with the class argument `unusable`; the default is PartsightError.
    """

    _unusable: ClassVar[type[PartsightError]] = PartsightError
    _process: int = 0  # for an object that was made without `__new__`, such as a mock

    def __init_subclass__(cls, *, unusable: type[PartsightError] | None = None) -> None:
        """Wrap the public methods and properties of a subclass with the check of the process."""
        super().__init_subclass__()
        cls._unusable = unusable or cls._unusable
        for name, member in list(vars(cls).items()):
            if name in ("close", "__exit__"):
                setattr(cls, name, _guarded(member, is_skipped=True))
            elif name in ("__call__", "__enter__", "__iter__", "__len__", "__next__") or not name.startswith("_"):
                setattr(cls, name, _guarded(member))

    def __new__(cls, *_: object, **__: object) -> Self:
        """Store the number of the process."""
        made = super().__new__(cls)
        made._process = os.getpid()
        return made

    def __del__(
        self, getpid: Callable[[], int] = os.getpid, keep_forever: Callable[[object], None] = _keep_forever
    ) -> None:
        """Keep the attributes of a forked copy alive: their end would wait for threads, or stop the maker's device.

        The functions are arguments because the end of the interpreter may have cleared this module.
        """
        if getpid() != self._process:
            keep_forever(self.__dict__)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise self._unusable(
            f"this {type(self).__name__} cannot be copied or sent to another process: only process {self._process}, "
            f"which made it, can use it; {_REMEDY}"
        )

    def _refuse_elsewhere(self) -> NoReturn:
        raise self._unusable(
            f"process {self._process} made this {type(self).__name__}, but process {os.getpid()} uses it: it has no "
            f"threads there and would never answer; {_REMEDY}"
        )


def _guarded(member: Any, *, is_skipped: bool = False) -> Any:
    """Return a method or property that raises, or is skipped, in any other process; other members unchanged."""
    if isinstance(member, property):
        return property(_guarded(member.fget), member.fset, member.fdel, member.__doc__)
    # A wrapper would change the kind of generators and coroutines, which only users' subclasses have.
    if not inspect.isfunction(member) or inspect.isgeneratorfunction(member) or inspect.iscoroutinefunction(member):
        return member
    getpid = os.getpid

    @functools.wraps(member)
    def call(self: ProcessBound, *args: Any, **kwargs: Any) -> Any:
        if self._process == getpid():
            return member(self, *args, **kwargs)
        return None if is_skipped else self._refuse_elsewhere()

    return call
