"""Interrupts that libraries swallow."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """See to it that Ctrl-C ends the work within the block or function, whatever the code that it hits makes of it.

    Keras catches everything while it opens the weights of a model that it saves or loads, and goes on in another way;
    elsewhere Keras and tf2onnx make another error of it, and Python drops what is raised while an object is disposed
    of. Ctrl-C interrupts at once, as ever; where it was lost, it is raised again at the end. Where a program handles
    Ctrl-C in its own way, and outside the main thread, which Ctrl-C does not reach, this does nothing.

    Raises:
        KeyboardInterrupt: there was an interrupt in the block.
    """
    # A function set by signal.signal is called by the main thread only, and only there can it be set.
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
