"""Ctrl-C in code that catches all exceptions."""

import _thread
from collections.abc import Callable
from typing import Any


def interrupt() -> None:
    """Raise Ctrl-C in Python; a real signal could end the process if a library has changed its handler."""
    _thread.interrupt_main()


def swallowed() -> None:
    try:
        interrupt()
    except KeyboardInterrupt:  # as by a bare `except:` of a library
        return
    raise AssertionError("there was no interrupt")


def swallowing(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Swallow an interrupt, then call a function."""

    def swallow(*arguments: Any, **options: Any) -> Any:
        swallowed()
        return inner(*arguments, **options)

    return swallow
