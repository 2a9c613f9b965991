"""A map over batches as another process would do it: work, batches and results go through pickle."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def map_pickled(work: Callable[[Any], Any], batches: Sequence[Any], /) -> Iterator[Any]:
    sent = pickle.loads(pickle.dumps(work))
    for batch in batches:
        yield pickle.loads(pickle.dumps(sent(pickle.loads(pickle.dumps(batch)))))
