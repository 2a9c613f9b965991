"""The syntax of instances, and what Triton reads."""

import pytest

from partsight.export.triton import instances
from partsight.export.triton.config import new_config
from partsight.export.triton.instances import Instances


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", Instances()),
        ("4", Instances(4)),
        ("2@cpu", Instances(2, "cpu")),
        ("3@gpu", Instances(3, "gpu")),
        ("2@0", Instances(2, "gpu", (0,))),
        ("1@3,1,3", Instances(1, "gpu", (1, 3))),
    ],
)
def test_forms(text: str, expected: Instances) -> None:
    assert Instances.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "2@", "2@tpu", "2@0,", "@cpu", "2 @cpu", "2@0x1", "99999", "٢"])
def test_other_forms(text: str) -> None:
    with pytest.raises(ValueError, match="COUNT@cpu"):
        Instances.parse(text)


@pytest.mark.parametrize(
    ("text", "kind", "cards"), [("2", "KIND_AUTO", []), ("2@cpu", "KIND_CPU", []), ("2@1,0", "KIND_GPU", [0, 1])]
)
def test_the_group(text: str, kind: str, cards: list[int]) -> None:
    config = new_config("demo", (36, 36))
    Instances(7).write(config)
    Instances.parse(text).write(config)
    (group,) = config.instance_group
    assert (group.Kind.Name(group.kind), group.count, list(group.gpus)) == (kind, 2, cards)


@pytest.mark.parametrize(("count", "threads"), [(1, 0), (2, 8), (5, 3), (40, 1)])
def test_threads_times_instances_are_the_cores(count: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes all cores for 0."""
    monkeypatch.setattr(instances, "usable_cores", lambda: 16)
    config = new_config("demo", (36, 36))
    Instances(count).write(config)
    assert config.parameters["intra_op_thread_count"].string_value == str(threads)
