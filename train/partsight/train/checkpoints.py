"""Checkpoints: the state of fine-tuning on disk after every epoch, so that a kill loses at most one epoch."""

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.core import FloatArray, new_file
from partsight.train.framework import keras
from partsight.train.records import TuneEpoch

STATE_NAME = "state.npz"

_LOG = logging.getLogger("partsight.train")


class TuneProgress(msgspec.Struct):
    """Progress of a fine-tuning.

    Attributes:
        history: Figures of each epoch so far.
        best_epoch: Epoch with the best weights so far.
        dropped: Whether golden accuracy fell below the floor.
        stopped: Reason why training ended; None while it continues.
    """

    history: list[TuneEpoch] = field(default_factory=list)
    best_epoch: int = 0
    dropped: bool = False
    stopped: str | None = None


@dataclass(frozen=True)
class Checkpoints:
    """The state after the last epoch, in a folder whose name is a digest of all inputs of the training."""

    folder: Path

    def save(self, progress: TuneProgress, variables: Sequence[Any], best: Sequence[FloatArray]) -> None:
        """Replace the saved state.

        Raises:
            OutputError: The state cannot be written.
        """
        arrays: dict[str, Any] = {"progress": np.frombuffer(msgspec.json.encode(progress), np.uint8)}
        arrays |= {f"variable_{index}": values(variable) for index, variable in enumerate(variables)}
        arrays |= {f"best_{index}": array for index, array in enumerate(best)}
        with new_file(self.folder / STATE_NAME) as file:
            np.savez(file, **arrays)

    def load(self, variables: Sequence[Any], best_count: int) -> tuple[TuneProgress, list[FloatArray]] | None:
        """Load the saved state into `variables` and return the rest of it; None if there is none.

        If the file is damaged, it logs a warning and returns None: a lost state only costs time.

        Args:
            variables: Keras variables, in the order of `save`.
            best_count: Number of arrays of `best` in `save`.
        """
        path = self.folder / STATE_NAME
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                progress = msgspec.json.decode(arrays["progress"].tobytes(), type=TuneProgress)
                found = [arrays[f"variable_{index}"] for index in range(len(variables))]
                best = [arrays[f"best_{index}"] for index in range(best_count)]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
            _LOG.warning("%s cannot be read (%s): fine-tuning starts again from epoch 1", path, error)
            return None
        for variable, array in zip(variables, found, strict=True):
            variable.assign(array)
        return progress, best


def values(variable: Any) -> FloatArray:
    """Return a copy of a Keras variable's numbers."""
    return np.array(keras.ops.convert_to_numpy(variable))
