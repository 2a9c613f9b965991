"""All comparers of a recogniser: its own process, and those beside it."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from partsight.runtime.comparers.comparer import Comparer
from partsight.runtime.comparers.messages import Setup
from partsight.runtime.errors import ComparerError, PackageError
from partsight.runtime.images import Pixels
from partsight.runtime.loading import MOST_HELD_BYTES, Comparison
from partsight.runtime.session import FloatArray
from partsight.runtime.verification import Verified, verify

_HERE = -1  # in the queue of who is free, where the least comes first: frames that come alone need no other process
_LOOK_S = 1.0
_GIVING_S = 60.0
_HANGS_S = 10.0  # a comparison takes some milliseconds
_FIRST_BREAK_S = 1.0
_LONGEST_BREAK_S = 60.0

_log = logging.getLogger("partsight.comparers")


class Comparers:
    """Compares frames in several processes at once. Thread-safe.

    A comparison is made of hundreds of small steps, and Python takes one such step at a time: two threads compare
    hardly more frames than one. So each process beside this one compares a frame of its own, and this one too.

    A process that ends, or does not answer for ten seconds, is told of (event `comparer_lost`); its frame is compared
    here, and the others go on. Another takes its place (event `comparer_back`), the later the more often one was lost
    there: after a second at first, after a minute at most.
    """

    def __init__(self, count: int, comparison: Comparison, classes: int) -> None:
        """Start processes and wait until they work. They get golden images in the background, and frames after that.

        Args:
            count: processes beside this one.
            comparison: of the package.
            classes: of the package.

        Raises:
            ComparerError: one does not start.
        """
        self._comparison = comparison
        outlines = comparison.references.outlines
        self._setup = Setup(comparison.verification.spec, classes, None if outlines is None else outlines.to_bytes())
        self._break_s = [_FIRST_BREAK_S] * count
        self._free: queue.PriorityQueue[int] = queue.PriorityQueue()
        self._closing, self._given = threading.Event(), threading.Event()
        with ExitStack() as stack:
            self._comparers = [_started(self._setup, stack) for _ in range(count)]
            for comparer in self._comparers:
                comparer.wait_ready()
            stack.pop_all()
        self._free.put(_HERE)
        self._in_background(self._begin)
        self._in_background(self._look_after)

    def compare(self, pixels: Pixels, score: FloatArray, threshold: float) -> Verified:
        """Compare a frame when a process is free; see `verification.verify`.

        Raises:
            PackageError: a golden image is damaged.
        """
        place = self._free.get()
        if place == _HERE:
            try:
                return self._compare_here(pixels, score, threshold)
            finally:
                self._free.put(_HERE)
        verified = self._compare_at(place, pixels, score, threshold)
        return self._compare_here(pixels, score, threshold) if verified is None else verified

    def wait_given(self) -> None:
        """Wait until they have their golden images and take frames; a minute at most."""
        self._given.wait(_GIVING_S)

    def close(self) -> None:
        """End the processes; frames that are being compared come to their end, and later ones are compared here."""
        self._closing.set()
        for comparer in self._comparers:
            if not comparer.takes_frames:  # nor anything else, perhaps
                comparer.kill()
        is_here_free = False
        while True:
            try:
                place = self._free.get_nowait()
            except queue.Empty:
                break
            if place == _HERE:
                is_here_free = True
            else:
                self._comparers[place].close()
        if is_here_free:
            self._free.put(_HERE)

    def _compare_here(self, pixels: Pixels, score: FloatArray, threshold: float) -> Verified:
        return verify(pixels, score, self._comparison.references, self._comparison.verification.spec, threshold)

    def _compare_at(self, place: int, pixels: Pixels, score: FloatArray, threshold: float) -> Verified | None:
        comparer = self._comparers[place]
        try:
            verified = comparer.compare(pixels, score, threshold)
        except Exception as error:  # what it would answer next is nobody's
            self._lose(place, error)
            if isinstance(error, ComparerError):
                return None
            raise
        self._set_free(place)
        return verified

    def _set_free(self, place: int) -> None:
        self._free.put(place)
        if self._closing.is_set():  # after the put: `close` may have looked just before it
            self.close()

    def _lose(self, place: int, error: Exception) -> None:
        comparer = self._comparers[place]
        comparer.kill()
        comparer.close()
        if self._closing.is_set():
            return
        _log.warning(
            "a process that compares frames is lost (%s): the others go on, and frames take longer until another takes "
            "its place in %.0f s; was it killed for its memory?",
            error,
            self._break_s[place],
            extra={"event": "comparer_lost", "pid": comparer.process_id},
        )
        self._in_background(self._replace, place)

    def _replace(self, place: int) -> None:
        """Put another process in a lost one's place after a while, or after some more."""
        is_told = False  # memory may be short for days
        while not self._closing.wait(self._break_s[place]):
            self._break_s[place] = min(2 * self._break_s[place], _LONGEST_BREAK_S)
            try:
                comparer = self._start_again(place)
            except ComparerError as error:
                if not is_told:
                    text = "no other process takes a lost one's place yet (%s); it is tried again and again"
                    _log.warning(text, error, extra={"event": "comparer_waiting"})
                is_told = True
                continue
            if self._give([place]):
                text, extra = "another process compares frames in a lost one's place", {"event": "comparer_back"}
                _log.info(text, extra=extra | {"pid": comparer.process_id})
            return

    def _start_again(self, place: int) -> Comparer:
        if next(self._goldens(), None) is None:
            raise ComparerError("no golden image can be read any more: was the package's folder removed?")
        with ExitStack() as stack:
            comparer = _started(self._setup, stack)
            comparer.wait_ready()
            stack.pop_all()
        self._comparers[place] = comparer
        return comparer

    def _give(self, places: list[int]) -> list[int]:
        """Give processes their golden images, and frames after that; return the places of those that are not lost."""
        ready = list(places)
        for index, data in self._goldens():
            for place in tuple(ready):
                try:
                    self._comparers[place].give(index, data)
                except ComparerError as error:
                    ready.remove(place)
                    self._lose(place, error)
        for place in ready:
            self._comparers[place].takes_frames = True
            self._set_free(place)
        return ready

    def _begin(self) -> None:
        self._give(list(range(len(self._comparers))))
        self._given.set()

    def _look_after(self) -> None:
        """End a process that hangs; after closing as well, until the calls under way have come to their end."""
        while not self._closing.wait(_LOOK_S) or any(comparer.is_running for comparer in self._comparers):
            for comparer in self._comparers:
                if comparer.busy_s > _HANGS_S:
                    comparer.kill()
            if self._closing.is_set():
                time.sleep(_LOOK_S)

    def _goldens(self) -> Iterator[tuple[int, bytes]]:
        room = MOST_HELD_BYTES
        for index, name in enumerate(self._comparison.verification.references):
            if room <= 0 or self._closing.is_set():
                return
            try:
                data = self._comparison.package.file_bytes(name)
            except PackageError:
                continue  # a frame that needs it is compared here, and raises it
            room -= len(data)
            yield index, data

    @staticmethod
    def _in_background(work: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, name="partsight-comparers", daemon=True).start()


def _started(setup: Setup, stack: ExitStack) -> Comparer:
    comparer = Comparer(setup)
    stack.callback(comparer.close)
    stack.callback(comparer.kill)
    return comparer
