"""The turn: a batch of frames on its way from the frame queue to the publisher, and the jobs that publish it."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from partsight.runtime.core import PartsightError, ProviderError, RemoteError
from partsight.runtime.line.frame_queue import Arrival, UnreadableFrame
from partsight.runtime.line.publisher import ResultPublisher
from partsight.runtime.recognition import Recognizer, Result


class Pending(Protocol):
    """Answers that are asked for, such as those of `Recognizer.start_batch`."""

    def wait(self) -> list[Result]:
        """Wait for the results, and return them in the order of the frames."""


class Job(Protocol):
    """Frames whose turn to be published comes."""

    def publish(self) -> None:
        """Publish the outcome of each frame; called once, by the publishing thread."""


@dataclass(eq=False)
class Turn:
    """A batch from the queue, whose jobs are published after those of all batches before it.

    Attributes:
        recognizer: Recogniser of the batch, even if another is swapped in meanwhile.
        batch: Frames of the batch; none for a swap.
        replaced: Recognisers that answer no later batch.
        jobs: Jobs of the batch, to come; or the error that ends the line.
        published: Set when all of them are published, or never will be.
        is_lost: Whether its frames failed because a server is lost.
    """

    recognizer: Recognizer
    batch: Sequence[Arrival | UnreadableFrame] = ()
    replaced: Sequence[Recognizer] = ()
    jobs: "Future[list[Job]]" = field(default_factory=Future)
    published: threading.Event = field(default_factory=threading.Event)
    is_lost: bool = False


@dataclass(frozen=True)
class Answered:
    """Answers that are there already."""

    results: list[Result]

    def wait(self) -> list[Result]:
        """Return the results."""
        return self.results


@dataclass(frozen=True)
class Batch:
    """Frames that one recogniser answers together."""

    turn: Turn
    publisher: ResultPublisher
    arrivals: Sequence[Arrival]
    pending: Pending

    def publish(self) -> None:
        """Publish the answers when they are there."""
        try:
            results = self.pending.wait()
        except ProviderError:
            raise  # no frame is at fault, and no other frame would be answered
        except RemoteError as error:  # no frame is at fault, and the server may answer the next batch
            self.turn.is_lost = True
            Failed(self.publisher, self.arrivals, error).publish()
            return
        except PartsightError:
            OneByOne(self.turn.recognizer, self.publisher, self.arrivals).publish()
            return
        for arrival, result in zip(self.arrivals, results, strict=True):
            self.publisher.publish_answer(arrival, self.turn.recognizer, result)


@dataclass(frozen=True)
class OneByOne:
    """Frames of a batch that failed: one of them is at fault, and the others are answered."""

    recognizer: Recognizer
    publisher: ResultPublisher
    arrivals: Sequence[Arrival]

    def publish(self) -> None:
        """Recognise and publish frame by frame."""
        for arrival in self.arrivals:
            try:
                result = self.recognizer.recognize(arrival.frame.image)
            except ProviderError:
                raise
            except PartsightError as error:
                self.publisher.publish_failure(arrival, error)
            else:
                self.publisher.publish_answer(arrival, self.recognizer, result)


@dataclass(frozen=True)
class Failed:
    """Frames that nobody answers, because the server is lost: asking for each alone would only take longer."""

    publisher: ResultPublisher
    arrivals: Sequence[Arrival]
    error: RemoteError

    def publish(self) -> None:
        """Publish each frame as failed."""
        for arrival in self.arrivals:
            self.publisher.publish_failure(arrival, self.error)


@dataclass(frozen=True)
class Unreadable:
    """A frame that its camera could not read."""

    publisher: ResultPublisher
    frame: UnreadableFrame

    def publish(self) -> None:
        """Publish the frame as failed."""
        self.publisher.publish_unreadable(self.frame)
