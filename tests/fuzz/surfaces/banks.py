"""The bank of a package: NumPy's format, mapped into memory and used as stored."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partsight.runtime.matching import Bank, MatchingSpec, Rule, decode_bank, encode_bank, match, prepare_all
from partsight.runtime.matching.operations import ArrayOperations
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.tiny import COLOURS_BGR, SIDE_PX, solid

_SPEC = MatchingSpec(height=SIDE_PX, width=SIDE_PX)
_ODD = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 0.0, -1.0, 1e19)


@contextlib.contextmanager
def open_banks(_folder: Path) -> Iterator[Case]:
    """Banks that were damaged before hashing: headers, lengths, classes and numbers. An accepted bank must answer."""
    frames = np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in COLOURS_BGR])
    whole = prepare_all([*frames, frames[-1]], [*range(len(frames)), len(frames) - 1])
    score = np.zeros((len(frames), len(frames)), np.float32)

    def case(rng: random.Random) -> None:
        records = decode_bank(_hostile(rng, whole), len(frames), (SIDE_PX, SIDE_PX), "somewhere")
        bank = Bank.of(records)
        check(bank.classes == len(frames) and bank.count == len(records), f"{bank.classes} classes")
        check(set(bank.class_of.tolist()) == set(range(len(frames))), f"classes {bank.class_of}")
        with np.errstate(all="ignore"):
            matches = match(frames, score, bank, _SPEC, ArrayOperations())
            accepted = matches.is_accepted(Rule(0.5), _SPEC)
        check(bool(((matches.classes >= 0) & (matches.classes < len(frames))).all()), "a class that was never taught")
        check(bool((matches.agreement[accepted, 0] >= 0.5).all()), "accepted below the threshold")
        check(not (matches.agreement > 1).any(), "an agreement above 1")

    yield case


def _hostile(rng: random.Random, whole: np.ndarray) -> bytes:
    style = rng.random()
    if style < 0.25:
        return damaged(rng, encode_bank(whole))
    if style < 0.3:
        return garbage(rng, 300)
    if style < 0.4:
        data = encode_bank(whole)
        end = data.index(b"\n") + 1
        return damaged(rng, data[:end]) + data[end:]
    records = whole[: rng.choice((0, 1, 5, 6, 7, 7, 7, 7))].copy()
    for _ in range(rng.choice((1, 1, 2, 5)) if len(records) else 0):
        _alter(rng, records)
    return encode_bank(records)


def _alter(rng: random.Random, records: np.ndarray) -> None:
    """Write other numbers into a field of some of the references."""
    name = rng.choice(records.dtype.names or ())
    values = records[name]
    some = slice(rng.randrange(len(records)), rng.randint(1, len(records)))
    if values.dtype.kind == "f":
        values[some] = rng.choice(_ODD)
    elif name == "class":
        values[some] = rng.choice((-(2**31), -1, 0, 1, 5, 6, 7, 2**31 - 1))
    else:
        low, high = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
        values[some] = rng.choice((low, high, 0, rng.randint(low, high)))
