"""`partsight keygen`: a pair of keys to sign packages with."""

import argparse
import os
import sys
from typing import Any

from partsight.cli.exit_codes import ExitCode

_DESCRIPTION = """\
Make a pair of Ed25519 keys: KEY signs packages and is readable by its owner alone; KEY.pub checks signatures and goes
to every line. Neither may exist. Whoever has KEY (and its passphrase) can sign: keep it where packages are made, never
on a line.

With a passphrase KEY is encrypted. It comes from a file's first line or from the variable PARTSIGHT_KEY_PASSPHRASE, and
never from the command line, which every user of a machine can read.
"""

_EXAMPLE = """\
examples:
  partsight keygen --out factory
  partsight keygen --out factory --passphrase-file /media/safe/passphrase

It needs the package `cryptography`: pip install 'partsight[sign]'. docs/signing.md tells what signing is good for.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight keygen` to the command."""
    parser = subparsers.add_parser(
        "keygen",
        help="make a pair of keys to sign packages with",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="KEY", help="file to write; KEY.pub is written beside it")
    parser.add_argument("--passphrase-file", metavar="FILE", help="file whose first line KEY is encrypted with")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the keys and return the exit code."""
    from partsight.runtime.core import read_passphrase
    from partsight.runtime.signing import PUBLIC_SUFFIX, generate_key

    passphrase = read_passphrase(args.passphrase_file)
    public = generate_key(args.out, passphrase)
    print(f"key id:      {public.key_id}")
    print(f"private key: {args.out} ({'not ' if passphrase is None else ''}encrypted); signs, and stays here")
    print(f"public key:  {args.out}{PUBLIC_SUFFIX}; goes to every line")
    if os.name == "nt":
        print(
            "partsight: warning: on Windows a file has its folder's rights; see to it that only you may open "
            f"{args.out}",
            file=sys.stderr,
        )
    return ExitCode.DONE
