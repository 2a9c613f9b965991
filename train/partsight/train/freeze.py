"""The freeze plan: which layers train, and the check that BatchNormalization does not.

BatchNormalization normalises with the batch's statistics in training, but with moving statistics in inference. If it
trains, the head learns from features that inference never shows, and accuracy collapses (keras-team/keras#9214, #9965).
Only a layer's own `trainable = False` puts it into inference mode. Three ways to set flags fail:

- `base(x, training=False)` has no such effect in Keras 3 (keras-team/keras#20285).
- A parent's flag overwrites its children's flags.
- A flag that changes after the first step of a compiled model has no effect.

So `freeze` alone sets all flags and compiles last, and `BatchNormGuard` compares the variables themselves.
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
"""Name of the block with all layers after the backbone."""


@dataclass(frozen=True)
class FreezePlan:
    """The layers that train.

    Attributes:
        cut: Layer after which layers train.
        rows: Blocks, in the order of the network.
        batch_norms: Names of all BatchNormalization layers; each is in inference mode, before and after the cut.
    """

    cut: str
    rows: tuple[FreezeRow, ...]
    batch_norms: tuple[str, ...]

    def table(self) -> str:
        """Return the plan as a text table."""
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
    """Let only the layers after `cut` train, and no BatchNormalization layer.

    Args:
        model: The whole keras.Model, backbone and head; the backbone may be nested at any depth.
        cut: Layer after which the backbone trains.
        allowed: Layers after which the backbone may be cut, in order; see `Backbone.cuts`.
        compile_last: Function that compiles the model that will train: `model`, or another one with the same layers.
        held: Layers after the cut that do not train, such as a cosine head's prototypes.

    Raises:
        TrainingError: `cut` is not one of `allowed`.
    """
    check_cut(cut, allowed)
    backbone = find_network(model, cut)
    # Layer by layer: Keras passes a flag to children only if it changes, and a parent's flag hides its children's.
    for layer in model._flatten_layers():
        layer.trainable = True
    for layer in (*_frozen(model, backbone, cut), *held):
        layer.trainable = False
    batch_norms = batch_norm_layers(model)
    for layer in batch_norms:  # last, because a parent's flag overwrites its children's
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
    """Copies of the variables of all BatchNormalization layers: gamma, beta, moving mean and variance.

    Attributes:
        layers: BatchNormalization layers.
        before: Variables of each layer when the guard was made, each (channels,) float32.
    """

    layers: tuple[Any, ...]
    before: tuple[tuple[FloatArray, ...], ...]

    @classmethod
    def of(cls, model: Any) -> "BatchNormGuard":
        """Copy the variables of a model's BatchNormalization layers."""
        layers = tuple(batch_norm_layers(model))
        return cls(layers, tuple(_values(layer) for layer in layers))

    def check(self, when: str) -> None:
        """Compare the layers' variables with the copies.

        Args:
            when: Time of the check, for the message, such as "in the first step".

        Raises:
            TrainingError: A variable changed, even by a single bit.
        """
        for layer, before in zip(self.layers, self.before, strict=True):
            for variable, old in zip(layer.variables, before, strict=True):
                if not np.array_equal(keras.ops.convert_to_numpy(variable), old):
                    raise TrainingError(
                        f"{variable.name} of the BatchNormalization layer {layer.name} changed {when}; expected no "
                        "change: other code set `trainable` after the freeze plan. Set `trainable` only through "
                        "`freeze`, which compiles last"
                    )


def _frozen(model: Any, backbone: Any, cut: str) -> Iterable[Any]:
    """Yield the backbone's layers up to the cut, and the layers before the backbone in the networks around it."""
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
    """Yield the layers of a model and of its nested networks, in their order."""
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
