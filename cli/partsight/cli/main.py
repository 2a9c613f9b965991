"""The `partsight` command: its verbs, its exit codes and its error messages."""

import argparse
import difflib
import importlib.metadata
import re
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from partsight.cli import (
    account,
    batch,
    bench,
    bundle,
    commission,
    dashed,
    doctor,
    enroll,
    explain,
    export,
    inspect,
    keygen,
    review,
    run,
    serve,
    sign,
    train,
    triton,
    verify,
)
from partsight.cli.exit_codes import MEANINGS, ExitCode
from partsight.cli.streams import CLOSED, LossyStream, usable_streams

_VERBS = (
    train,
    export,
    enroll,
    bundle,
    triton,
    serve,
    run,
    account,
    explain,
    review,
    commission,
    batch,
    bench,
    inspect,
    keygen,
    sign,
    verify,
    doctor,
)

_TRAIN_LIBRARIES = frozenset({"keras", "matplotlib", "onnx", "tensorflow", "tf2onnx"})

_EXAMPLE = """\
from golden images to the line:
  partsight train  examples/parts/golden --out runs/first
  partsight export runs/first --out line3.partsight
  partsight run    line3.partsight --camera folder:photos > results.jsonl
  partsight account add ada --role admin --data page
  partsight explain line3.partsight photos --out why
  partsight review kept --package line3.partsight
  partsight commission line3.partsight kept --out fitted.partsight
  partsight batch  line4.partsight archive --out results.parquet --compare line3.partsight
  partsight enroll line3.partsight --label M8x40 m8x40.png --out line4.partsight
  partsight bundle line3.partsight --out line3.onnx
  partsight triton line3.partsight --out models
  partsight serve  line3.partsight
  partsight inspect line3.partsight
  partsight keygen --out factory
  partsight sign   line4.partsight --key factory
  partsight verify line4.partsight --key factory.pub
  partsight doctor
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: Arguments after the command's name; None for the arguments of the process.

    Raises:
        SystemExit: argparse ends the command: with 2 after wrong usage, with 0 after `--help` and `--version`.
    """
    with usable_streams() as stdout:
        try:
            return _judge_output(_run(_parse(argv)), stdout)
        except KeyboardInterrupt:
            print("partsight: interrupted", file=sys.stderr)
            return ExitCode.INTERRUPTED
        except SystemExit as ended:
            raise SystemExit(_judge_output(int(ended.code or 0), stdout, is_asked_for=True)) from None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all verbs."""
    codes = "\n".join(f"  {code:<4d} {meaning}" for code, meaning in MEANINGS.items())
    parser = argparse.ArgumentParser(
        prog="partsight",
        description="Recognise factory parts from one golden image each: train, export, run on the line.",
        epilog=f"{_EXAMPLE}\nexit codes:\n{codes}\n\n`partsight VERB --help` explains a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("partsight")
    parser.add_argument("--version", action="version", version=f"partsight {version}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for verb in _VERBS:
        verb.add_parser(verbs)
    for verb_parser in verbs.choices.values():  # so that users may also write it after the verb
        verb_parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        verb_parser.set_defaults(parser=verb_parser)
    return parser


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    argv = sys.argv[1:] if argv is None else argv
    if "" in argv:  # as a path it would be the working folder
        parser.error("an argument is empty; check that each shell variable has a value")
    args, rest = parser.parse_known_args(dashed.shield(argv))
    # Before Python 3.12.7 argparse does not parse `IMAGE...` after an option that follows PACKAGE.
    if "paths" in args and not any(text.startswith("-") for text in rest):
        args.paths, rest = [*args.paths, *rest], []
    if rest:
        _refuse(args.parser, rest)
    return args


def _refuse(parser: argparse.ArgumentParser, rest: Sequence[str]) -> NoReturn:
    """End with the usage of a verb's parser, the unknown arguments, and the options that are nearest to them."""
    options = re.findall(r"--[a-z][a-z-]*", parser.format_help())
    unknown = [text.partition("=")[0] for text in rest if text.startswith("--")]
    nearest = [near for text in unknown for near in difflib.get_close_matches(text, options, 1)]
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else f"; run `{parser.prog} --help`"
    parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except Exception as error:
        if _is_interrupted(error):
            raise KeyboardInterrupt from error
        message = _explain(error)
        if message is None:
            raise
        if args.debug:
            traceback.print_exc()
        print(f"partsight: error: {message}", file=sys.stderr)
        return ExitCode.ERROR


def _is_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused the error. ONNX Runtime raises its own error if Ctrl-C comes during its import."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _explain(error: Exception) -> str | None:
    """Return the message of an error; None for an error that partsight did not foresee."""
    if isinstance(error, ImportError):
        return _explain_import(error)
    # Not at the top: `doctor` must start even if a library of the runtime is broken.
    from partsight.runtime.core import PartsightError

    return str(error) if isinstance(error, PartsightError) else None


def _explain_import(error: ImportError) -> str | None:
    library = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and library in _TRAIN_LIBRARIES:
        return f"{library} is not installed, but train and export need it. Run `pip install 'partsight[train]'`"
    if library == "partsight":
        return None
    return f"a library cannot be imported ({error}). Run `partsight doctor`; it shows how to fix it"


def _judge_output(code: int, stdout: LossyStream, *, is_asked_for: bool = False) -> int:
    """Flush stdout, and return the exit code of a command that has ended with `code`.

    Verbs that print their result refuse a closed stdout themselves. The other verbs do not need stdout.
    """
    stdout.flush()
    error = CLOSED if stdout.is_missing and is_asked_for and not code else stdout.error
    if error is None or stdout.is_without_reader:  # the reader, such as `head`, has enough
        return code
    print(f"partsight: error: the output cannot be written ({error})", file=sys.stderr)
    return code or ExitCode.ERROR
