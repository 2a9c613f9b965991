"""Where fine-tuning stands, on disk after every epoch: whole or not there, so that a kill loses one epoch."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from partsight.runtime.session import FloatArray
from partsight.runtime.storage import new_folder
from partsight.train.tune_record import TuneEpoch

_PROGRESS_NAME, _ARRAYS_NAME = "progress.json", "arrays.npz"


class Progress(msgspec.Struct):
    """How far fine-tuning has come.

    Attributes:
        history: of every epoch so far.
        best_epoch: the one whose weights are kept.
        dropped: whether golden accuracy fell below the floor.
        stopped: why no further epoch follows; None while one does.
    """

    history: list[TuneEpoch] = field(default_factory=list)
    best_epoch: int = 0
    dropped: bool = False
    stopped: str | None = None


@dataclass(frozen=True)
class Checkpoints:
    """The state after each epoch, under the name of everything on which the result depends."""

    folder: Path

    def save(self, progress: Progress, variables: Sequence[Any], best: Sequence[FloatArray]) -> None:
        """Write the state and remove older ones.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / f"epoch_{len(progress.history) - 1}"
        older = self._epochs()
        with new_folder(path) as partial:
            arrays = {f"variable_{index}": values(variable) for index, variable in enumerate(variables)}
            arrays |= {f"best_{index}": array for index, array in enumerate(best)}
            np.savez(partial / _ARRAYS_NAME, **arrays)  # type: ignore[arg-type]  # all names are arrays'
            (partial / _PROGRESS_NAME).write_bytes(msgspec.json.encode(progress))
        for epoch in older:
            shutil.rmtree(self.folder / f"epoch_{epoch}", ignore_errors=True)

    def load(self, variables: Sequence[Any], best_count: int) -> tuple[Progress, list[FloatArray]] | None:
        """Put the newest state into `variables` and return the rest of it; None if there is none.

        Args:
            variables: as they were given to `save`.
            best_count: how many arrays `best` had there.
        """
        epochs = self._epochs()
        if not epochs:
            return None
        path = self.folder / f"epoch_{epochs[-1]}"
        progress = msgspec.json.decode((path / _PROGRESS_NAME).read_bytes(), type=Progress)
        with np.load(path / _ARRAYS_NAME, allow_pickle=False) as arrays:
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"variable_{index}"])
            best = [arrays[f"best_{index}"] for index in range(best_count)]
        return progress, best

    def _epochs(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        matches = (re.fullmatch(r"epoch_(\d+)", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)


def values(variable: Any) -> FloatArray:
    """Return a copy of a Keras variable's numbers."""
    return np.array(keras.ops.convert_to_numpy(variable))
