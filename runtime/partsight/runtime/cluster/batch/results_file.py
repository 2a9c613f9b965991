"""The results of a batch: one Parquet file with a row for each frame, in the order of the source."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partsight.runtime.core import import_extra, new_file

_GROUP_ROWS = 16_384  # rows of a row group: a reader of one column then skips the others


@dataclass(frozen=True)
class Counts:
    """Frames by outcome."""

    recognised: int
    unknown: int
    failed: int

    @property
    def frames(self) -> int:
        """Number of all frames."""
        return self.recognised + self.unknown + self.failed


def write_results(path: Path, tables: Iterable[Any], schema: Any, facts: Mapping[str, str]) -> Counts:
    """Write rows, and count them.

    Args:
        path: File to write; it appears whole or not at all.
        tables: Rows in order, a pyarrow.Table each.
        schema: Columns, a pyarrow.Schema.
        facts: Facts for the file's metadata.

    Raises:
        OutputError: The file cannot be written.
    """
    parquet = import_extra("pyarrow.parquet", "ray")
    counts: Counter[str] = Counter()
    with (
        new_file(path) as file,
        parquet.ParquetWriter(file, schema.with_metadata(dict(facts)), compression="zstd") as writer,
    ):
        for table in _joined(tables):
            counts.update(table["outcome"].to_pylist())
            writer.write_table(table.replace_schema_metadata(dict(facts)))
    return Counts(counts["recognised"], counts["unknown"], counts["failed"])


def _joined(tables: Iterable[Any]) -> Iterator[Any]:
    """Yield the same rows in fewer, larger tables."""
    arrow = import_extra("pyarrow", "ray")
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(len(each) for each in waiting) >= _GROUP_ROWS:
            yield arrow.concat_tables(waiting)
            waiting = []
    if waiting:
        yield arrow.concat_tables(waiting)
