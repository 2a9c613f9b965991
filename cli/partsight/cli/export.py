"""Placeholder: the verb `export` is being written."""

import argparse
from typing import Any


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight export` to the command."""
    subparsers.add_parser("export", help="(not written yet)").set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do nothing."""
    raise NotImplementedError
