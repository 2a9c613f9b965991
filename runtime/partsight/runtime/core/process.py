"""The process that made an object: threads, devices and open files are no use in a copy of its memory."""

import ctypes
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self

from partsight.runtime.core.errors import PartsightError

_REMEDY = (
    "create it in the process that uses it (gunicorn: in the hook post_fork, or without --preload; multiprocessing: "
    "in the worker, or with the start method 'spawn'; a daemon: after its last fork)"
)

# Through ctypes, since Python itself has no reference that the end of the interpreter does not drop.
_keep_forever = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))


class ProcessBound:
    """Base of objects that work only in the process which made them.

    A fork copies memory, and neither threads nor the state of devices: a call would wait for an answer for ever. In
    any other process each public method and property raises at once, and `close` and the end of a `with` block do
    nothing. Such objects can be neither pickled nor copied, unless a subclass says how by its own `__reduce__`.

    A subclass names the error with the class argument `unusable`; PartsightError if it names none.
    """

    _unusable: ClassVar[type[PartsightError]] = PartsightError
    _process: int = 0  # of an object that was made without `__new__`, as a mock may be

    def __init_subclass__(cls, *, unusable: type[PartsightError] | None = None) -> None:
        """Have the methods of a subclass check the process."""
        super().__init_subclass__()
        cls._unusable = unusable or cls._unusable
        for name, member in list(vars(cls).items()):
            if name in ("close", "__exit__"):
                setattr(cls, name, _guarded(member, is_skipped=True))
            elif name in ("__call__", "__enter__", "__iter__", "__len__", "__next__") or not name.startswith("_"):
                setattr(cls, name, _guarded(member))

    def __new__(cls, *_: object, **__: object) -> Self:
        """Note the process."""
        made = super().__new__(cls)
        made._process = os.getpid()
        return made

    def __del__(
        self, getpid: Callable[[], int] = os.getpid, keep_forever: Callable[[object], None] = _keep_forever
    ) -> None:
        """Keep what a copy of the object holds: letting go of it would wait for threads, or stop the maker's device.

        The arguments are there since the interpreter's end may have cleared this module.
        """
        if getpid() != self._process:
            keep_forever(self.__dict__)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled and copied."""
        raise self._unusable(
            f"this {type(self).__name__} cannot be copied or sent to another process: it works only in process "
            f"{self._process}, which made it; {_REMEDY}"
        )

    def _refuse_elsewhere(self) -> NoReturn:
        raise self._unusable(
            f"this {type(self).__name__} was made in process {self._process} and is used in process {os.getpid()}, "
            f"where it has no threads and would never answer; {_REMEDY}"
        )


def _guarded(member: Any, *, is_skipped: bool = False) -> Any:
    """Return a method or property that raises, or does nothing, in any other process; anything else as it is."""
    if isinstance(member, property):
        return property(_guarded(member.fget), member.fset, member.fdel, member.__doc__)
    # A generator or a coroutine, which only a user's subclass has, must stay one; the methods that it calls raise.
    if not inspect.isfunction(member) or inspect.isgeneratorfunction(member) or inspect.iscoroutinefunction(member):
        return member
    getpid = os.getpid

    @functools.wraps(member)
    def call(self: ProcessBound, *args: Any, **kwargs: Any) -> Any:
        if self._process == getpid():
            return member(self, *args, **kwargs)
        return None if is_skipped else self._refuse_elsewhere()

    return call
