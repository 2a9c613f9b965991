"""Properties by hypothesis, which reduces a failing case as far as possible."""

import contextlib
import csv
import io
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from partsight.runtime.cameras.address import without_credentials
from partsight.runtime.core.errors import PackageError, PartsightError
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.package.digest import check_digest, with_digest
from partsight.runtime.package.manifest import Manifest
from partsight.runtime.package.onnx_file import check_onnx
from partsight.runtime.recognition.results import decide
from partsight.runtime.sinks.address import parse
from partsight.runtime.sinks.csv import escape_formula, unescape_formula
from partsight.runtime.sinks.record import Record
from tests.fuzz.catalog import SURFACES
from tests.tiny import tiny_manifest, tiny_model

# Each run tests the same cases; `python -m tests.fuzz` runs others.
CASES = settings(derandomize=True, deadline=None, max_examples=100, database=None)

CHEAP = ("answers", "camera-addresses", "camera-buffers", "labels", "line-files", "manifests", "options", "prototypes")
CHEAP += ("records", "sink-addresses")
MODEL, MANIFEST = tiny_model(), tiny_manifest().to_json()


@pytest.mark.parametrize("name", CHEAP)
def test_cases_of_a_surface(name: str, tmp_path: Path) -> None:
    with SURFACES[name].open(tmp_path) as case:

        @settings(CASES, max_examples=60, suppress_health_check=list(HealthCheck))
        @given(st.randoms(use_true_random=False))
        def run(numbers: object) -> None:
            with contextlib.suppress(PartsightError):
                case(numbers)  # type: ignore[arg-type]

        run()


@CASES
@given(st.binary(max_size=300))
def test_bytes_that_are_no_model(data: bytes) -> None:
    for check in (check_digest, check_onnx):
        with contextlib.suppress(PackageError):
            check(data, "here")
    check_digest(with_digest(data), "here")


@CASES
@given(st.integers(0, len(MODEL) - 1), st.binary(min_size=1, max_size=40))
def test_a_model_with_other_bytes_anywhere(start: int, data: bytes) -> None:
    damaged = MODEL[:start] + data + MODEL[start + len(data) :]
    if damaged != MODEL:
        with pytest.raises(PackageError):
            check_digest(damaged, "here")


@CASES
@given(st.integers(0, len(MANIFEST) - 1), st.binary(min_size=1, max_size=40))
def test_a_manifest_with_other_bytes_anywhere(start: int, data: bytes) -> None:
    damaged = MANIFEST[:start] + data + MANIFEST[start + len(data) :]
    with contextlib.suppress(PackageError):
        assert Manifest.from_json(damaged, "here") == tiny_manifest()


@CASES
@given(st.text(), st.text(), st.text(st.characters(codec="utf-8")))
def test_any_text_in_a_record(camera: str, error: str, label: str) -> None:
    record = Record(
        outcome="failed", camera=camera, source=error, sequence=0, run=camera, timestamp=0, label=label, error=error
    )
    assert msgspec.json.decode(record.to_json(), type=Record) == record
    assert b"\n" not in record.to_json()


@CASES
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_in_a_table(text: str) -> None:
    guarded = escape_formula(text)
    assert unescape_formula(guarded) == text
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([guarded, "x"])
    assert next(csv.reader(io.StringIO(stream.getvalue(), newline=""))) == [guarded, "x"]


@CASES
@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32)), st.floats(), st.integers(1, 50))
def test_what_is_no_number_is_never_accepted(score: np.ndarray, threshold: float, top: int) -> None:
    (answer,) = decide(score[None], [str(index) for index in range(len(score))], threshold, top)
    assert answer.accepted == (not math.isnan(answer.score) and answer.score >= threshold)
    assert len(answer.top) == min(top, len(score))


@CASES
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_a_frame_of_any_size(frame: np.ndarray, height: int, width: int) -> None:
    batch = preprocess([frame], PreprocessSpec(height, width))
    assert batch.shape == (1, height, width, 3)
    assert frame.min() <= batch.min()
    assert batch.max() <= frame.max()
    np.testing.assert_array_equal(preprocess([frame.copy()], PreprocessSpec(height, width)), batch)


@CASES
@given(st.text(max_size=20), st.text(st.characters(codec="ascii", exclude_characters="@/?#&")), st.text(max_size=20))
def test_no_password_is_shown(scheme: str, user: str, target: str) -> None:
    secret = "hunter2"
    address = f"{scheme}://{user}:{secret}@{target.replace(secret, '')}"
    assert secret not in without_credentials(address)
    with contextlib.suppress(PartsightError):
        assert secret not in str(parse(address))
