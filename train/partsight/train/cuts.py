"""Cuts: layers between two blocks, after which a network can be split (keras-team/keras-io#995)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partsight.runtime.core import TrainingError
from partsight.train.framework import keras

# The key is the beginning of a keras.applications name; the longest key that fits a name counts. The pattern's group is
# the block: if a block has several boundaries, such as a normalisation and its activation, only the last is its end.
_BLOCK_ENDS_BY_FAMILY: Mapping[str, str] = {
    "DenseNet": r"(conv\d+_block\d+_concat|pool\d+_pool)",
    "EfficientNet": r"(block\d+[a-z])_(?:project_bn|project_activation|add)",
    "EfficientNetLite": r"(b\d+)_(?:project_bn|add)",
    "InceptionResNet": r"(mixed_\w+|block\d+_\d+_ac|conv_7b_ac)",
    "InceptionV3": r"(mixed\d+)",
    "MobileNet": r"(conv_pw_\d+)_relu",
    "MobileNetV2": r"(expanded_conv|block_\d+)_(?:project_BN|add)",
    "MobileNetV3": r"(expanded_conv(?:_\d+)?)_(?:project_bn|add)",
    "NASNet": r"(normal_concat_\d+)",
    "ResNet": r"(conv\d+_block\d+)_out",
    "VGG": r"(block\d+_pool)",
    "Xception": r"(add(?:_\d+)?|block14_sepconv2_act)",
}


def boundaries(network: Any) -> tuple[str, ...]:
    """Return the layers whose output is the only tensor between the layers before and the layers after.

    A layer inside a residual or inception block is no boundary, because the shortcut or a branch bypasses it. The
    function reads the graph, so it works for any network.

    Args:
        network: Functional keras.Model with one input.

    Returns:
        Names in the order of the network, without the input.
    """
    nodes = _nodes(network)
    index_of = {id(node): index for index, node in enumerate(nodes)}
    last_use = list(range(len(nodes)))
    for index, node in enumerate(nodes):
        for parent in node.parent_nodes:
            last_use[index_of[id(parent)]] = index
    names, still_needed = [], 0
    for index, node in enumerate(nodes):
        if index > 0 and still_needed <= index and len(node.output_tensors) == 1:
            names.append(node.operation.name)
        still_needed = max(still_needed, last_use[index])
    return tuple(name for name in names if names.count(name) == 1)  # a layer that is used twice is ambiguous


def block_ends(architecture: str, network: Any) -> tuple[str, ...]:
    """Return the last layer of each block, in order.

    Args:
        architecture: Name of the network, such as `InceptionV3`. For an unknown name, each boundary is a block end.
        network: Network without its classifier.
    """
    found = boundaries(network)
    families = [family for family in _BLOCK_ENDS_BY_FAMILY if architecture.startswith(family)]
    if not families:
        return found
    pattern = re.compile(_BLOCK_ENDS_BY_FAMILY[max(families, key=len)])
    matches = (pattern.fullmatch(name) for name in found)
    return tuple({match[1]: match[0] for match in matches if match}.values())


def cuts_that_train(network: Any, cuts: Sequence[str]) -> tuple[str, ...]:
    """Return the cuts that leave something to train after them; BatchNormalization does not count, it never trains."""
    layers = layers_in_order(network)
    last = max((index for index, layer in enumerate(layers) if _can_train(layer)), default=0)
    before = {layer.name for layer in layers[:last]}
    return tuple(cut for cut in cuts if cut in before)


def check_cut(cut: str | None, allowed: Sequence[str], useful: Sequence[str] | None = None) -> str:
    """Return the layer to cut after: `cut`, or by default the block end at three quarters of the network.

    Args:
        cut: Layer that the user named; None for the default.
        allowed: Ends of blocks, in order.
        useful: Cuts after which something trains; None for all.

    Raises:
        TrainingError: There is no such layer, it is inside a block, or nothing would train after it.
    """
    useful = allowed if useful is None else useful
    if not useful:
        raise TrainingError(
            "received a network without a cut after which a layer can train; use another backbone, or --budget quick"
        )
    if cut is None:
        default = allowed[len(allowed) * 3 // 4]
        return default if default in useful else useful[-1]
    if cut not in useful:
        why = ", after which nothing would train" if cut in allowed else ""
        raise TrainingError(f"received cut {cut!r}{why}; expected the end of a block: one of {', '.join(useful)}")
    return cut


@dataclass(frozen=True)
class Split:
    """A network in two parts that share its layers.

    Attributes:
        trunk: A keras.Model from the network's input to the activation at the cut.
        tail: A keras.Model from that activation to the network's output.
    """

    trunk: Any
    tail: Any


def split(network: Any, cut: str) -> Split:
    """Cut a functional network after the layer `cut`, which may be inside a nested network.

    Raises:
        TrainingError: There is no such layer.
    """
    for node in _nodes(network):
        layer = node.operation
        if layer.name == cut:
            here = node.output_tensors[0]
            return Split(keras.Model(network.inputs[0], here), _between(here, network.outputs[0]))
        if isinstance(layer, keras.Model) and cut in _names(layer):
            inner = split(layer, cut)
            trunk = keras.Model(network.inputs[0], inner.trunk(node.input_tensors[0]))
            activation = keras.Input(inner.tail.inputs[0].shape[1:])
            after = _between(node.output_tensors[0], network.outputs[0])
            return Split(trunk, keras.Model(activation, after(inner.tail(activation))))
    raise TrainingError(f"received cut {cut!r}; there is no layer of that name in {network.name}")


def inner_network(model: Any) -> Any:
    """Return the backbone in `model`: its first nested network, or `model` itself if it has none."""
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)


def find_network(model: Any, cut: str) -> Any:
    """Return the network with the layer `cut`: `model`, or a network nested in it at any depth.

    Raises:
        TrainingError: There is no such layer.
    """
    for layer in model.layers:
        if layer.name == cut:
            return model
        if isinstance(layer, keras.Model) and cut in _names(layer):
            return find_network(layer, cut)
    raise TrainingError(f"received cut {cut!r}; there is no layer of that name in {model.name}")


def layers_in_order(network: Any) -> list[Any]:
    """Return a functional network's layers, each after the layers whose outputs it reads."""
    return list({id(node.operation): node.operation for node in _nodes(network)}.values())


def describe(network: Any) -> str:
    """Return class, configuration and inputs of each layer, without weights; equal networks have equal descriptions.

    It leaves out names, because Keras numbers them within a process, and `trainable`, because it changes no answer.
    """
    nodes = _nodes(network)
    index_of = {id(node): index for index, node in enumerate(nodes)}
    return "\n".join(f"{[index_of[id(parent)] for parent in node.parent_nodes]} {_describe(node)}" for node in nodes)


def _can_train(layer: Any) -> bool:
    return bool(getattr(layer, "weights", ())) and not isinstance(layer, keras.layers.BatchNormalization)


def _describe(node: Any) -> str:
    layer = node.operation
    if isinstance(layer, keras.Model):
        return f"({describe(layer)})"
    config = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable")}
    return f"{type(layer).__name__} {config}"


def _nodes(network: Any) -> list[Any]:
    # Keras has no public access to the graph. A node of greater depth is nearer to the input.
    by_depth = network._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _names(network: Any) -> set[str]:
    inside = (_names(layer) for layer in network.layers if isinstance(layer, keras.Model))
    return {layer.name for layer in network.layers}.union(*inside)


def _between(start: Any, end: Any) -> Any:
    if start is end:  # nothing in between, and Keras builds no model from a tensor to itself
        passed = keras.Input(start.shape[1:])
        return keras.Model(passed, passed)
    return keras.Model(start, end)
