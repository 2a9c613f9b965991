import pytest

from partsight.runtime.cameras.polled import FrameIds


@pytest.mark.parametrize(
    ("ids", "sequences"),
    [
        ([1, 2, 3], [0, 1, 2]),
        ([7, 8, 11], [0, 1, 4]),
        ([65534, 65535, 1, 2], [0, 1, 2, 3]),
        ([65534, 2], [0, 3]),
        ([5, 5, 4, 5], [0, 1, 2, 3]),
        ([2**40, 2**40 + 2], [0, 2]),
    ],
)
def test_frame_ids(ids: list[int], sequences: list[int]) -> None:
    numbers = FrameIds()
    assert [numbers.number(frame_id) for frame_id in ids] == sequences
