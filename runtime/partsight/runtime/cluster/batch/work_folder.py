"""The work folder: the finished chunks of a batch, so that the same command goes on where it stopped."""

import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from partsight.runtime.cluster.batch.sources import Chunk
from partsight.runtime.core import OutputError, import_extra, write_file

_JOB_FILE, _LOCK_FILE = "job.json", "lock"
_MAX_NAMED = 10


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The facts that must be the same when a batch goes on: another package, or other frames, have other answers.

    Attributes:
        packages: Ids of the package and, to compare with it, of the old one.
        source: Path of the frames.
        fingerprint: Fingerprint of the frames; see `Source`.
        frames: Number of frames.
        chunk_size: Most frames of a chunk.
        provider, precision: Provider and number format of the network.
    """

    packages: tuple[str, ...]
    source: str
    fingerprint: str
    frames: int
    chunk_size: int
    provider: str
    precision: str

    def differences(self, other: "Job") -> list[str]:
        """Return the names of the facts in which two jobs differ, for people."""
        return [text for name, text in _FACTS.items() if getattr(self, name) != getattr(other, name)]


_FACTS = {
    "packages": "the packages",
    "source": "the path of the source",
    "fingerprint": "the frames of the source",
    "frames": "the number of frames",
    "chunk_size": "the version of partsight",
    "provider": "the provider",
    "precision": "the precision",
}


class WorkFolder:
    """A folder with one Parquet file for each finished chunk. Use it as a context manager."""

    def __init__(self, path: Path, job: Job) -> None:
        """Make the folder, or open it again.

        Args:
            path: The folder.
            job: Facts of the batch.

        Raises:
            OutputError: It cannot be written, another program writes into it, or it holds another batch.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock: BinaryIO = (path / _LOCK_FILE).open("wb")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error}); name --out in a folder for your files") from error
        try:
            _lock(self._lock, path)
            self._check(job)
        except BaseException:
            self._lock.close()
            raise

    def _check(self, job: Job) -> None:
        path = self.path / _JOB_FILE
        if not path.exists():
            write_file(path, msgspec.json.format(msgspec.json.encode(job), indent=1))
            return
        try:
            before = msgspec.json.decode(path.read_bytes(), type=Job)
        except (OSError, msgspec.MsgspecError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); remove the folder {self.path}") from error
        if different := before.differences(job):
            changed = " and ".join(filter(None, [", ".join(different[:-1]), different[-1]]))
            raise OutputError(
                f"{self.path}: holds the start of another batch, which differs in {changed}. To go on with it, run its "
                f"command again; to begin anew, remove the folder: rm -r {self.path}"
            )

    def finished(self, chunks: Sequence[Chunk]) -> set[int]:
        """Return the starts of the chunks whose files are there and whole."""
        return {chunk.start for chunk in chunks if self._rows_of(chunk) == len(chunk.frames)}

    def write(self, chunk: Chunk, table: Any) -> None:
        """Keep the rows of a chunk, a pyarrow.Table.

        Raises:
            OutputError: The file cannot be written.
        """
        parquet, data = import_extra("pyarrow.parquet", "ray"), io.BytesIO()
        parquet.write_table(table, data, compression="zstd")
        write_file(self._file_of(chunk), data.getvalue())

    def tables(self, chunks: Sequence[Chunk]) -> Iterator[Any]:
        """Yield the rows of all chunks in order, a pyarrow.Table each, after a check that each frame has one row.

        Raises:
            OutputError: Rows are missing, or a frame has two.
        """
        parquet, arrow = import_extra("pyarrow.parquet", "ray"), import_extra("pyarrow", "ray")
        for chunk in chunks:
            path = self._file_of(chunk)
            try:
                table = parquet.read_table(path)
            except (OSError, arrow.ArrowException) as error:
                raise OutputError(f"{path}: cannot be read ({error}); remove it, and run the command again") from error
            check_indices(chunk, table, path)
            yield table

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _file_of(self, chunk: Chunk) -> Path:
        return self.path / f"{chunk.start:012d}.parquet"

    def _rows_of(self, chunk: Chunk) -> int:
        parquet, arrow = import_extra("pyarrow.parquet", "ray"), import_extra("pyarrow", "ray")
        try:
            return int(parquet.read_metadata(self._file_of(chunk)).num_rows)
        except (OSError, arrow.ArrowException):  # it is missing or damaged: the chunk is answered again
            return 0


def check_indices(chunk: Chunk, table: Any, origin: object) -> None:
    """Refuse rows that are not exactly those of a chunk's frames, in order.

    Args:
        chunk: The chunk.
        table: Its rows, a pyarrow.Table.
        origin: Origin of the rows, for the message.

    Raises:
        OutputError: Rows are missing, or a frame has two; the message names their indices.
    """
    found, expected = table["index"].to_pylist(), list(chunk.indices)
    if found == expected:
        return
    missing = sorted(set(expected) - set(found))
    twice = sorted({index for index in found if found.count(index) > 1})
    foreign = sorted(set(found) - set(expected))
    kinds = (("missing", missing), ("there twice", twice), ("of no frame", foreign))
    faults = [f"{name}: {_listed(indices)}" for name, indices in kinds if indices] or ["they are in another order"]
    raise OutputError(f"{origin}: has other rows than its {len(expected)} frames; {'; '.join(faults)}. Run it again")


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices[:_MAX_NAMED])) + (", …" if len(indices) > _MAX_NAMED else "")


def _lock(file: BinaryIO, path: Path) -> None:
    """Let no other program use the folder; the lock ends with this process, however it ends."""
    try:
        import fcntl  # noqa: PLC0415 (POSIX alone, as Ray's clusters)
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path}: another command works on this batch; wait for its end, or end it") from error
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be locked ({error}); name --out on a file system with locks, such as a local disk"
        ) from error
