"""Instances: how many copies of a model a Triton server runs, and where."""

import re
from dataclasses import dataclass
from typing import Any

from partsight.runtime.matching import usable_cores

_SYNTAX = re.compile(r"(?P<count>[1-9][0-9]{0,3})(@(?P<place>cpu|gpu|[0-9]{1,3}(,[0-9]{1,3})*))?", re.ASCII)
SYNTAX = "COUNT, COUNT@cpu, COUNT@gpu or COUNT@CARD,CARD"
"""Forms of `Instances.parse`, for help and errors."""


@dataclass(frozen=True)
class Instances:
    """Copies of the model on one server. Each has the weights and the bank in memory.

    Attributes:
        count: Number of copies on each card, or on the processor.
        place: `cpu`, `gpu` for every card, or `auto` for every card and the processor of a server without one.
        cards: Numbers of the cards; empty for every card.
    """

    count: int = 1
    place: str = "auto"
    cards: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Instances":
        """Return the instances of a text such as `2`, `2@cpu`, `1@gpu` or `2@0,1`.

        Raises:
            ValueError: The text has another form.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise ValueError(f"received {text!r}; expected {SYNTAX}, such as 2 or 2@0,1")
        count, place = int(match["count"]), match["place"] or "auto"
        if place in ("auto", "cpu", "gpu"):
            return cls(count, place)
        return cls(count, "gpu", tuple(sorted({int(card) for card in place.split(",")})))

    @property
    def threads(self) -> int:
        """Threads of each copy on a processor: the cores of this machine, shared out; 0 lets ONNX Runtime choose."""
        return 0 if self.count == 1 else max(1, usable_cores() // self.count)

    def write(self, config: Any) -> None:
        """Write the instances into a `ModelConfig`: the group, and the threads of each instance."""
        kinds = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}
        del config.instance_group[:]
        group = config.instance_group.add(count=self.count)
        group.kind = group.Kind.Value(kinds[self.place])
        group.gpus.extend(self.cards)
        config.parameters["intra_op_thread_count"].string_value = str(self.threads)
