"""Names of parts that begin with a dash, such as `-M8`, which argparse takes for options."""

from collections.abc import Sequence

_OPTIONS = ("--label", "--remove")
_SHIELD = "\0"  # no argument of a process can hold it


def shield(argv: Sequence[str]) -> list[str]:
    """Return the arguments, those after `--label` and `--remove` in a form that argparse takes for no option.

    A name after `=` may begin with anything, and more names or images may follow it; any other with one dash.
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
    """Return an argument as it was before `shield`."""
    return text.removeprefix(_SHIELD)
