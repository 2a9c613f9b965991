"""Programs that tests start beside them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def running(*command: object, **options: int) -> "Iterator[subprocess.Popen[str]]":
    """Run a program and wait for its end; where the test fails meanwhile, kill it, so that nobody waits."""
    with subprocess.Popen([str(part) for part in command], text=True, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
