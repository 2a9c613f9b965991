"""Part names that start with a dash, such as `-M8`: argparse would take them for options."""

from collections.abc import Sequence

_OPTIONS = ("--label", "--remove")
_SHIELD = "\0"  # no process argument can contain it


def shield(argv: Sequence[str]) -> list[str]:
    """Return the arguments, with those after `--label` and `--remove` marked so that argparse sees no options.

    A name after `=` may start with any character, and more names or images may follow it. Another name may start with
    one dash.
    """
    shielded: list[str] = []
    takes_names = False
    for text in argv:
        option, separator, value = text.partition("=")
        if text.startswith("--"):
            takes_names = len(option) > 2 and any(name.startswith(option) for name in _OPTIONS)
            shielded += [option, f"{_SHIELD}{value}"] if takes_names and separator else [text]
        else:
            is_name = takes_names and text.startswith("-") and text != "-h"
            shielded.append(f"{_SHIELD}{text}" if is_name else text)
    return shielded


def restore(text: str) -> str:
    """Return an argument without the mark of `shield`."""
    return text.removeprefix(_SHIELD)
