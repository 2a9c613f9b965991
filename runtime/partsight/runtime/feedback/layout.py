"""Places in a folder of kept frames: the subfolder in which a frame lies is the decision about it."""

import re
from pathlib import Path

from partsight.runtime.feedback.frame import Verdict

CONFIRMED = "confirmed"
"""Folder with a folder for each part, as `commission`, `enroll --catalog` and `train` read it."""

FLAT: dict[str, Verdict] = {"not_taught": "not_taught", "discarded": "discarded"}
"""Folders that hold frames themselves."""

_UNSAFE = re.compile(r'[<>:"/\\|?*]|%(?=[0-9A-Fa-f]{2})|^\.|[. ]$|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)).', re.I)
"""What a folder's name has on no system; and a percent sign that would read as a code."""

_CODE = re.compile(r"%([0-9A-Fa-f]{2})")


def folder_of(root: Path, verdict: Verdict, label: str | None) -> Path:
    """Return the folder of frames with a decision.

    Args:
        root: Folder of the sink.
        verdict: The decision.
        label: Label of the part, if the frame shows one of the package.
    """
    if verdict == "confirmed":
        return root / CONFIRMED / _name_of(label or "")
    return root if verdict == "open" else root / verdict


def label_of_folder(folder: Path) -> str:
    """Return the label for which a folder inside `confirmed` stands."""
    return _CODE.sub(lambda code: chr(int(code[1], 16)), folder.name)


def _name_of(label: str) -> str:
    """Return the label, with %XX in place of each character that a folder's name may not have."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", label)
