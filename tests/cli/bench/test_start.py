"""The start of a process."""

from pathlib import Path

import pytest

from partsight.cli.bench.facts import Speed
from partsight.cli.bench.start import measure_start
from partsight.runtime import PartsightError


def test_a_process_that_fails_names_its_error(matching_package: Path) -> None:
    with pytest.raises(PartsightError, match=r"cuda fp32.*ProviderError: .*'cuda'.*--no-start"):
        measure_start(str(matching_package), Speed("cuda", "fp32", 1, 9.0, 9.0, 9.0), (48, 64, 3))
