from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest

from partsight.runtime.inference.io_binding import BoundRuns
from tests.tiny import COLOURS_BGR, SIDE_PX, searched, solid, tiny_model


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])


def frames(count: int, seed: int = 0) -> np.ndarray:
    colours = list(COLOURS_BGR)
    chosen = np.random.default_rng(seed).choice(colours, count)
    return np.stack([solid(str(colour), SIDE_PX, SIDE_PX) for colour in chosen])


@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 21])
def test_any_number_of_frames_is_answered_as_without_binding(session: onnxruntime.InferenceSession, count: int) -> None:
    bound = BoundRuns(session, [8, 1, 4], "cpu")
    for seed in range(3):  # the buffers hold other frames each time
        batch = frames(count, seed)
        score, embedding = session.run(["score", "embedding"], {"image_bgr": batch})
        found = bound.run(batch)
        np.testing.assert_allclose(found.score, score, atol=1e-6)
        np.testing.assert_allclose(found.embedding, embedding, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_model_that_bounds_scores(count: int) -> None:
    session = onnxruntime.InferenceSession(searched(tiny_model()), providers=["CPUExecutionProvider"])
    (bounds,) = session.run(["bound"], {"image_bgr": frames(count)})
    np.testing.assert_allclose(BoundRuns(session, [1, 4], "cpu").run(frames(count)).score, bounds, atol=1e-6)


def test_an_answer_does_not_change_with_the_next_run(session: onnxruntime.InferenceSession) -> None:
    bound = BoundRuns(session, [2], "cpu")
    first = bound.run(np.stack([solid("red", SIDE_PX, SIDE_PX)] * 2))
    before = first.score.copy(), first.embedding.copy()
    bound.run(np.stack([solid("blue", SIDE_PX, SIDE_PX)] * 2))
    np.testing.assert_array_equal(first.score, before[0])
    np.testing.assert_array_equal(first.embedding, before[1])


class SizesOf:
    """A session that notes how many frames each run has."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session, self.sizes = session, list[int]()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.session.run_with_iobinding(binding, options)
        self.sizes.append(binding.get_outputs()[0].shape()[0])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def test_only_the_given_sizes_are_run(session: onnxruntime.InferenceSession) -> None:
    noting = SizesOf(session)
    bound = BoundRuns(noting, [1, 4], "cpu")
    for count in (1, 2, 3, 4, 9):
        bound.run(frames(count))
    assert noting.sizes == [1, 4, 4, 4, 4, 4, 1]


def test_threads_get_their_own_answers(session: onnxruntime.InferenceSession) -> None:
    bound = BoundRuns(session, [1, 4], "cpu")
    batches = [frames(1 + seed % 6, seed) for seed in range(60)]
    expected = [session.run(["score"], {"image_bgr": batch})[0] for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        found = [inference.score for inference in pool.map(bound.run, batches)]
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
