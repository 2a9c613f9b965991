"""The exit codes of the command, for scripts that call it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    BELOW_TARGET = 3
    SOME_FAILED = 4
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.ERROR: "an error, with its reason on stderr; or `doctor` found that partsight cannot run here",
    ExitCode.USAGE: "wrong usage, or a wrong file of --config",
    ExitCode.BELOW_TARGET: "training ended below its target accuracy",
    ExitCode.SOME_FAILED: "`run` or `explain` could not read or answer some frames, or `run` could not write or "
    "deliver some results",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}
