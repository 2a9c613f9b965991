"""What fine-tuning leaves in a run's record."""

import msgspec


class FreezeRow(msgspec.Struct, frozen=True):
    """One block of the network, from one place where it may be cut to the next.

    Attributes:
        block: the name of the layer that it ends with.
        layers: how many it has.
        parameters: how many numbers they hold.
        trains: whether its weights change in fine-tuning. Its BatchNormalization layers never do.
    """

    block: str
    layers: int
    parameters: int
    trains: bool


class TuneEpoch(msgspec.Struct, frozen=True):
    """One pass over the varied copies; epoch 0 is the state before the first step.

    Attributes:
        epoch: its number.
        loss: mean training loss in it; None for epoch 0.
        golden_accuracy: share of unvaried golden images recognised after it.
        held_out_accuracy: share recognised of one varied copy a part that is never trained on.
        learning_rate: of its last step.
        seconds: that it took.
    """

    epoch: int
    loss: float | None
    golden_accuracy: float
    held_out_accuracy: float
    learning_rate: float
    seconds: float


class TuneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How fine-tuning went.

    Attributes:
        plan: which blocks trained, in the order of the network.
        batch_norm_layers: how many layers were held in inference mode, and checked to be.
        cut: the layer whose output the training starts from.
        copies: varied copies of each golden image trained on; fewer than asked for where the cache is too small.
        history: every epoch, the state before the first among them.
        floor: golden accuracy below which training stops: stage 1's less the tolerance.
        dropped: whether it fell below it.
        best_epoch: whose weights were kept; 0 for stage 1's.
        outcome: why it stopped and what was kept, for a person.
    """

    plan: tuple[FreezeRow, ...]
    batch_norm_layers: int
    cut: str
    copies: int
    history: tuple[TuneEpoch, ...]
    floor: float
    dropped: bool
    best_epoch: int
    outcome: str
