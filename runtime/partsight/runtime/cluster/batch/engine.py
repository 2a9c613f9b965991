"""The engine: work on many items by Ray Data, on the actors of one machine or of a cluster.

An item is small: it says where frames lie, and an actor reads them. Ray Data hands each item to an actor, and again to
another one if that actor's machine is lost. The engine proves that each item came back exactly once.
"""

import logging
import pickle
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from partsight.runtime.cluster.batch.actors import ActorPlan
from partsight.runtime.cluster.batch.core_group import take_cores
from partsight.runtime.core import PartsightError, RemoteError, import_extra

STALL_S = 900.0
"""Limit for the time without any result: a first answer may need minutes, for a network that TensorRT compiles."""

_MAX_NAMED = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Finished(Generic[T]):
    """The result of one item, and the item's index."""

    index: int
    result: T


class _Actor:
    """One actor of Ray Data: its rows are pickled items and results."""

    def __init__(self, work: bytes, cores: int) -> None:
        self._cores = take_cores(cores)  # before libraries start their threads
        self._work: Callable[[Any], Any] = pickle.loads(work)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = [self._answer(item) for item in batch["item"]]
        return {"index": list(batch["index"]), "result": results}

    def _answer(self, item: bytes) -> bytes:
        try:
            return pickle.dumps((self._work(pickle.loads(item)), None))
        except PartsightError as error:  # as a result: Ray would wrap it, and its class and sentence would be lost
            return pickle.dumps((None, error))
        except Exception as error:  # noqa: BLE001 (as above, and not every error can be pickled)
            text = f"machine {socket.gethostname()}: {type(error).__name__}: {error}; the work of all machines ends"
            return pickle.dumps((None, RemoteError(text)))


def work_on(work: Callable[[Any], T], items: Sequence[Any], plan: ActorPlan) -> Iterator[Finished[T]]:
    """Work on all items, and yield their results in the order in which they are ready.

    A Ray session must be open; see `ray_session`. The generator's end or `close` ends the actors.

    Args:
        work: Function of one item. It pickles, as items and results do. An actor unpickles it once: a function with a
            state loads models at its first call.
        items: Items; each is pickled once.
        plan: Actors that do the work.

    Raises:
        PartsightError: The work raised it, which ends the work of all actors. Any other error of the work is a
            RemoteError.
        RemoteError: An actor failed, no result came for `STALL_S`, or a result is missing or came twice.
    """
    if not items:
        return
    seen: set[int] = set()
    with _named_failures(), closing(_stream(work, items, plan)) as stream:
        for block in stream:
            for index, data in zip(block["index"].to_pylist(), block["result"], strict=True):
                if index in seen:
                    raise RemoteError(f"Ray returned item {index} twice; run the same command again")
                seen.add(index)
                result, error = pickle.loads(data.as_buffer())
                if error is not None:
                    raise error
                yield Finished(index, result)
    missing = sorted(set(range(len(items))) - seen)
    if missing:
        named = ", ".join(map(str, missing[:_MAX_NAMED])) + (", …" if len(missing) > _MAX_NAMED else "")
        raise RemoteError(
            f"Ray returned {len(seen)} of {len(items)} items, without {named}; run the same command again"
        )


@dataclass(frozen=True)
class RayMap:
    """A map on the actors of Ray, for loops that take a `core.BatchMap`.

    Attributes:
        plan: Actors that do the work.
    """

    plan: ActorPlan

    def __call__(self, work: Callable[[Any], T], items: Sequence[Any], /) -> Iterator[T]:
        """Yield the result of each item, in the order of the items; errors as of `work_on`."""
        waiting: dict[int, T] = {}
        following = 0
        for finished in work_on(work, items, self.plan):
            waiting[finished.index] = finished.result
            while following in waiting:
                yield waiting.pop(following)
                following += 1


def _stream(work: Callable[[Any], T], items: Sequence[Any], plan: ActorPlan) -> Generator[Any, None, None]:
    """Yield blocks of results, pyarrow tables."""
    data = import_extra("ray.data", "ray")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the caller gets each error
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = STALL_S
    rows = [{"index": index, "item": pickle.dumps(item)} for index, item in enumerate(items)]
    sent = import_extra("ray.cloudpickle", "ray").dumps(work)  # by value if it is a function of the program itself
    # One block for each item: a block is the unit that an actor gets. By default Ray Data starts lost actors again, and
    # gives their blocks to others, as often as it takes.
    dataset = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_args=(sent, plan.cpus),
        batch_size=None,
        compute=data.ActorPoolStrategy(size=plan.actors),
        num_cpus=plan.cpus,
        num_gpus=plan.gpus,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turn errors of Ray into a RemoteError."""
    errors = import_extra("ray.exceptions", "ray")
    data_errors = import_extra("ray.data.exceptions", "ray")
    try:
        yield
    except data_errors.ExecutionTimeoutError as error:
        raise RemoteError(
            f"no actor returned a result for {STALL_S:g} s; run `ray status` to see whether the cluster's machines are "
            "busy or lost, and then the same command again"
        ) from error
    except errors.RayError as error:
        text = str(error).strip() or type(error).__name__
        raise RemoteError(f"an actor failed: {text.splitlines()[-1]}; run the same command again") from error
