"""`partsight sign`: vouch for a package."""

import argparse
from typing import Any

from partsight.cli.exit_codes import ExitCode

_DESCRIPTION = """\
Sign a package: its manifest, which names the SHA-256 of every file. All files are compared with it first, and the
folder must hold nothing else. The signature is written to signature.json in the package; nothing else changes, the
package's id neither. Signatures of other keys stay, an earlier one of this key is replaced.
"""

_EXAMPLE = """\
examples:
  partsight sign line3.partsight --key keys/factory
  partsight sign line3.partsight --key keys/factory --passphrase-file /media/safe/passphrase

It needs the package `cryptography`: pip install 'partsight[sign]'.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight sign` to the command."""
    parser = subparsers.add_parser(
        "sign",
        help="sign a package, so that lines can tell who made it",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="the folder that `partsight export` or `enroll` wrote")
    parser.add_argument("--key", required=True, metavar="KEY", help="private key, of `partsight keygen`")
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="file whose first line is the key's passphrase (else: the variable PARTSIGHT_KEY_PASSPHRASE)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sign the package and return the exit code."""
    from partsight.runtime.core import read_passphrase
    from partsight.runtime.package import sign_package
    from partsight.runtime.signing import PrivateKey

    key = PrivateKey.read(args.key, read_passphrase(args.passphrase_file))
    package = sign_package(args.package, key)
    print(f"package:   {package.path}")
    print(f"id:        {package.package_id}")
    print(f"signed by: key {key.public.key_id}; {len(package.hashes())} files")
    return ExitCode.DONE
