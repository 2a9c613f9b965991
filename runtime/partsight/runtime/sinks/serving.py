"""A thread with an event loop, in which a server answers while the line goes on."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from partsight.runtime.errors import SinkError

ResultT = TypeVar("ResultT")

CALL_S = 10.0
"""Seconds that a call into the loop may take; servers of a process answer in milliseconds."""


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self, name: str) -> None:
        """Start the loop; `name` is that of the thread, and stands in messages."""
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"partsight-{name}", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT], timeout_s: float = CALL_S) -> ResultT:
        """Run a coroutine in the loop and return what it returns.

        Raises:
            SinkError: the loop ended, or the coroutine took longer than `timeout_s`. What it raises itself is raised.
        """
        if not self._thread.is_alive():
            work.close()
            raise SinkError(f"{self._name}: its server has ended; open the sink again")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError as error:
            if future.cancel():
                raise SinkError(
                    f"{self._name}: its server did not answer for {timeout_s:g} s; open it again"
                ) from error
            raise

    def close(self) -> None:
        """End the loop and what runs in it. May be called twice."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self.run(_cancel_others())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_S)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
