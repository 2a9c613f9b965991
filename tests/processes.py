"""Programs that tests start."""

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.waiting import HANG_S


@contextmanager
def running(*command: object, **options: int) -> "Iterator[subprocess.Popen[str]]":
    """Run a program and wait for its end; kill it if the test fails."""
    with subprocess.Popen([str(part) for part in command], text=True, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def answer_of_a_fork(work: Callable[[], object]) -> str:
    """Call a function in a fork of this process; return its result or error as text, and kill a fork that hangs."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(work())
        except BaseException as error:  # noqa: BLE001 (the parent reads the error)
            answer = f"{type(error).__name__}: {error}"
        os.write(sender, answer.encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as file:
        if not select.select([file], [], [], HANG_S)[0]:
            os.kill(child, signal.SIGKILL)
        answer = file.read().decode()
    os.waitpid(child, 0)
    assert answer, "the fork hangs"
    return answer
