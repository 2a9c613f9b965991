"""Frames of several cameras that wait, each under its own policy."""

import threading

import numpy as np
import pytest

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.line import Policy
from partsight.runtime.line.counters import Tally
from partsight.runtime.line.frame_queue import Arrival, FrameQueue, by_camera
from tests.waiting import HANG_S

LATEST, QUEUE, BLOCK = Policy(), Policy("queue", 50), Policy("block", 50)


def offer(frame_queue: FrameQueue, camera: str, count: int) -> None:
    for sequence in range(count):
        frame_queue.offer(camera, Frame(np.zeros((1, 1), np.uint8), camera, sequence, 0.0))


def taken(frame_queue: FrameQueue, limit: int) -> list[str]:
    return [item.camera for item in frame_queue.take(limit)]


def test_a_batch_of_files_is_small_while_a_live_camera_is_open_and_whole_afterwards() -> None:
    frame_queue = FrameQueue({"folder": BLOCK, "live": LATEST}, Tally())
    offer(frame_queue, "folder", 40)
    assert taken(frame_queue, 16) == ["folder"]
    assert taken(frame_queue, 32) == ["folder"] * 2
    frame_queue.end("live")
    assert taken(frame_queue, 16) == ["folder"] * 16


def test_a_live_frame_is_alone_in_its_batch_and_takes_turns_with_files() -> None:
    frame_queue = FrameQueue({"folder": BLOCK, "live": LATEST}, Tally())
    offer(frame_queue, "folder", 40)
    turns = []
    for _ in range(4):
        offer(frame_queue, "live", 1)
        turns.append(taken(frame_queue, 16))
    assert turns == [["live"], ["folder"], ["live"], ["folder"]]


def test_policies_take_turns_and_cameras_of_one_share_a_batch() -> None:
    frame_queue = FrameQueue({"folder": BLOCK, "left": QUEUE, "right": QUEUE}, Tally())
    for name in ("folder", "left", "right"):
        offer(frame_queue, name, 6)
    assert taken(frame_queue, 4) == ["left", "right"] * 2
    assert taken(frame_queue, 4) == ["folder"]
    assert taken(frame_queue, 4) == ["left", "right"] * 2


@pytest.mark.parametrize(("ends", "kept"), [(True, [0, 1, 2, 3]), (False, [3])])
def test_a_camera_without_a_policy_has_that_of_its_kind(ends: bool, kept: list[int]) -> None:
    tally = Tally()
    frame_queue = FrameQueue({"c": None}, tally, bound=4)
    frame_queue.opened("c", ends=ends)
    assert frame_queue.all_block == ends
    offer(frame_queue, "c", 4)
    assert [item.frame.sequence for item in frame_queue.take(16) if isinstance(item, Arrival)] == kept
    assert tally.of("c").get("skipped", 0) == 4 - len(kept)


def test_a_policy_that_was_named_stays() -> None:
    frame_queue = FrameQueue({"c": QUEUE}, Tally())
    frame_queue.opened("c", ends=True)
    assert frame_queue.policy("c") == QUEUE


def test_a_frame_that_waits_for_room_at_the_lines_end_is_answered() -> None:
    tally = Tally()
    frame_queue = FrameQueue({"folder": Policy("block", 1)}, tally)
    thread = threading.Thread(target=offer, args=(frame_queue, "folder", 2))
    thread.start()
    frame_queue.stop()
    thread.join(HANG_S)
    assert taken(frame_queue, 4) == ["folder"] * 2
    assert tally.of("folder") == {"waiting": 2}


def test_a_setting_by_camera() -> None:
    assert by_camera("deadline_ms", float, None, ["a"]) == {}
    assert by_camera("deadline_ms", float, 5.0, ["a", "b"]) == {"a": 5.0, "b": 5.0}
    assert by_camera("deadline_ms", float, {"b": 5.0}, ["a", "b"]) == {"b": 5.0}
    with pytest.raises(ValueError, match=r"deadline_ms\b.*'c'.*a, b"):
        by_camera("deadline_ms", float, {"c": 5.0}, ["a", "b"])
