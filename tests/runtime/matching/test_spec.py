"""The shape of references, and the size that one pass over a frame shrinks it to."""

import msgspec
import numpy as np
import pytest

from partsight.runtime.images import PreprocessSpec, Region
from partsight.runtime.matching import MatchingSpec, matching_spec, via_size


@pytest.mark.parametrize(
    ("shape", "region", "expected"),
    [
        ((256, 256, 3), None, (192, 192)),
        ((480, 640), None, (144, 192)),
        ((1000, 20, 3), None, (192, 36)),
        ((40, 400, 3), None, (36, 192)),
        ((191, 192, 3), None, (192, 192)),
        ((700, 1000), None, (132, 192)),
        ((32, 32, 3), None, (192, 192)),
        ((480, 640, 3), Region(0, 0, 100, 200), (192, 96)),
    ],
)
def test_references_have_the_shape_of_what_the_network_sees(
    shape: tuple[int, ...], region: Region | None, expected: tuple[int, int]
) -> None:
    spec = matching_spec(np.zeros(shape, np.uint8), PreprocessSpec(64, 64, region=region))
    assert (spec.height, spec.width) == expected
    assert spec == msgspec.structs.replace(MatchingSpec(height=1, width=1), height=spec.height, width=spec.width)


@pytest.mark.parametrize(
    ("network", "expected"), [((224, 224), (224, 224)), ((150, 150), (192, 150)), ((64, 64), (192, 144))]
)
def test_via_size_serves_network_and_comparison(network: tuple[int, int], expected: tuple[int, int]) -> None:
    spec, matching = PreprocessSpec(*network), MatchingSpec(height=192, width=144)
    assert via_size(spec, matching) == expected
    shared = msgspec.structs.replace(spec, via=expected)
    assert matching.preprocess(shared) == PreprocessSpec(192, 144, via=expected)
