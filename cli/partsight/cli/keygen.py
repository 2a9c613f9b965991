"""`partsight keygen`: a pair of keys to sign packages with."""

import argparse
import os
import sys
from typing import Any

from partsight.cli.exit_codes import ExitCode

_DESCRIPTION = """\
Make a pair of Ed25519 keys. KEY signs packages, and only its owner can read it. KEY.pub checks signatures and belongs
on every line. Neither file may exist yet. Anyone with KEY and its passphrase can sign, so keep KEY where you make
packages, never on a line.

A passphrase encrypts KEY. partsight reads it from the first line of a file, or from the variable
PARTSIGHT_KEY_PASSPHRASE. There is no option for the passphrase itself: all users of a machine can see command lines.
"""

_EXAMPLE = """\
examples:
  partsight keygen --out factory
  partsight keygen --out factory --passphrase-file /media/safe/passphrase

It needs the package `cryptography`. Run `pip install 'partsight[sign]'` first. docs/signing.md explains signing.
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
    parser.add_argument(
        "--out", required=True, metavar="KEY", help="file to write the private key to; the public key goes to KEY.pub"
    )
    parser.add_argument("--passphrase-file", metavar="FILE", help="file whose first line is the passphrase of KEY")
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
            "partsight: warning: on Windows a file has the permissions of its folder; make sure that only you can open "
            f"{args.out}",
            file=sys.stderr,
        )
    return ExitCode.DONE
