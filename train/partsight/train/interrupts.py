"""Interrupts: Ctrl-C ends the work even if a library swallows it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Ensure that Ctrl-C ends the work within the block or function, even if a library swallows it.

    Keras catches all exceptions while it opens the weights of a model, and continues. Elsewhere Keras and tf2onnx
    replace the interrupt by another error, and Python drops exceptions from destructors. Ctrl-C still interrupts at
    once; if a library swallows it, the end of the block raises it again. This does nothing outside the main thread,
    and in a program with its own handler of Ctrl-C.

    Raises:
        KeyboardInterrupt: There was an interrupt in the block.
    """
    # Python sets and calls signal handlers only in the main thread.
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    try:
        signal.signal(signal.SIGINT, keep)
        yield
    except Exception as error:
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt
