"""The freeze plan: which layers train, and the check that BatchNormalization does not.

A head that knew every part collapses when the network below it is trained and its BatchNormalization layers use a
batch's statistics in training and moving ones in inference (keras-team/keras#9214, #9965). Nothing but a layer's own
`trainable = False` puts it into inference mode: `base(x, training=False)` does not in Keras 3 (#20285), setting a
parent's flag sets its children's, and a flag set after the first step of a compiled model does nothing. So one
function sets all flags and compiles last, and a guard looks at the variables themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.core import FloatArray, TrainingError
from partsight.train.cuts import check_cut, find_network, layers_in_order
from partsight.train.framework import keras
from partsight.train.records import FreezeRow

REST = "features and head"
"""The block of all that comes after the backbone."""


@dataclass(frozen=True)
class FreezePlan:
    """The layers that train.

    Attributes:
        cut: the layer after which layers train.
        rows: each block, in the order of the network.
        batch_norms: names of the layers that are in inference mode, wherever they are.
    """

    cut: str
    rows: tuple[FreezeRow, ...]
    batch_norms: tuple[str, ...]

    def table(self) -> str:
        """Return the plan as a table for people."""
        width = max(len(row.block) for row in self.rows)
        lines = [f"{'block, by its last layer':<{max(width, 24)}}  layers  parameters  trains?"]
        for row in self.rows:
            trains = "yes" if row.trains else "no"
            lines.append(f"{row.block:<{max(width, 24)}}  {row.layers:>6}  {row.parameters:>10,}  {trains}")
        lines.append(f"{len(self.batch_norms)} BatchNormalization layers: none trains, all in inference mode")
        return "\n".join(lines)


def freeze(
    model: Any, cut: str, allowed: Sequence[str], compile_last: Callable[[], None], held: Sequence[Any] = ()
) -> FreezePlan:
    """Let the layers after `cut` train and no others; this function alone sets `trainable`.

    Args:
        model: the whole keras.Model, backbone and head; the backbone may be a layer of it at any depth.
        cut: the layer after which the backbone trains.
        allowed: layers of the backbone at which it may be cut, in order; see `Backbone.cuts`.
        compile_last: Function that compiles the model that will train: `model`, or another one with the same layers.
        held: Layers after the cut that still do not train.

    Raises:
        TrainingError: `cut` is not one of `allowed`.
    """
    check_cut(cut, allowed)
    backbone = find_network(model, cut)
    # One by one: Keras passes a flag on to children only where it changes, and a parent's hides its children's.
    for layer in model._flatten_layers():
        layer.trainable = True
    for layer in (*_frozen(model, backbone, cut), *held):
        layer.trainable = False
    batch_norms = batch_norm_layers(model)
    for layer in batch_norms:  # after every flag of a parent, which sets its children's
        layer.trainable = False
    rows = _rows(model, backbone, allowed)
    compile_last()
    return FreezePlan(cut, rows, tuple(layer.name for layer in batch_norms))


def batch_norm_layers(model: Any) -> list[Any]:
    """Return every BatchNormalization layer of a model, at any depth."""
    layers = (layer for leaf in _leaves(model) for layer in leaf._flatten_layers())
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


@dataclass(frozen=True)
class BatchNormGuard:
    """The variables of every BatchNormalization layer as they were: gamma, beta, moving mean and variance.

    Attributes:
        layers: the layers.
        before: of each, its variables.
    """

    layers: tuple[Any, ...]
    before: tuple[tuple[FloatArray, ...], ...]

    @classmethod
    def of(cls, model: Any) -> "BatchNormGuard":
        """Remember the variables of a model."""
        layers = tuple(batch_norm_layers(model))
        return cls(layers, tuple(_values(layer) for layer in layers))

    def check(self, when: str) -> None:
        """Compare with the remembered numbers.

        Args:
            when: for the message, such as `after the first step`.

        Raises:
            TrainingError: a variable changed, if only by a bit.
        """
        for layer, before in zip(self.layers, self.before, strict=True):
            for variable, old in zip(layer.variables, before, strict=True):
                if not np.array_equal(keras.ops.convert_to_numpy(variable), old):
                    raise TrainingError(
                        f"{variable.name} of the BatchNormalization layer {layer.name} changed {when}; expected it to "
                        "stay as it was trained: something set `trainable` after the freeze plan did. Set no flags "
                        "outside `freeze`, which compiles last"
                    )


def _frozen(model: Any, backbone: Any, cut: str) -> Iterable[Any]:
    """Yield the layers up to the cut: of the backbone, and before it in the networks around it."""
    while model is not backbone:
        around = layers_in_order(model)
        inside = next(layer for layer in around if isinstance(layer, keras.Model) and _holds(layer, backbone))
        yield from around[: around.index(inside)]
        model = inside
    for layer in layers_in_order(backbone):
        yield layer
        if layer.name == cut:
            return


def _holds(model: Any, network: Any) -> bool:
    return model is network or any(_holds(layer, network) for layer in model.layers if isinstance(layer, keras.Model))


def _leaves(model: Any) -> Iterator[Any]:
    """Yield the layers of a model and of the networks inside it, in their order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _values(layer: Any) -> tuple[FloatArray, ...]:
    return tuple(np.array(keras.ops.convert_to_numpy(variable)) for variable in layer.variables)


def _rows(model: Any, backbone: Any, cuts: Sequence[str]) -> tuple[FreezeRow, ...]:
    rows, block = [], []
    for layer in layers_in_order(backbone):
        block.append(layer)
        if layer.name in cuts:
            rows.append(_row(layer.name, block))
            block = []
    inside = {id(layer) for layer in _leaves(backbone)}
    rest = block if model is backbone else [*block, *(layer for layer in _leaves(model) if id(layer) not in inside)]
    return (*rows, _row(REST, rest)) if rest else tuple(rows)


def _row(name: str, layers: Sequence[Any]) -> FreezeRow:
    parameters = sum(layer.count_params() for layer in layers if isinstance(layer, keras.layers.Layer))
    trains = any(layer.trainable_weights for layer in layers if isinstance(layer, keras.layers.Layer))
    return FreezeRow(name, len(layers), parameters, trains)
