"""What the command's exit codes mean, for scripts that call it."""

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
    ExitCode.ERROR: "an error, told on stderr; or `doctor` found what keeps partsight from working",
    ExitCode.USAGE: "wrong usage, or a line's file that is wrong",
    ExitCode.BELOW_TARGET: "training ended below its target accuracy",
    ExitCode.SOME_FAILED: "`run` answered, but some frames could not be read, or some results not written or delivered",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}
