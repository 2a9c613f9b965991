"""`partsight sign`: sign a package."""

import argparse
from typing import Any

from partsight.cli.exit_codes import ExitCode

_DESCRIPTION = """\
Sign the manifest of a package, which holds the SHA-256 of every file. sign first checks all files against it, and the
folder must hold no other file. It writes the signature to signature.json in the package. All other files and the
package's id stay the same. Signatures of other keys stay; an earlier signature of this key is replaced.
"""

_EXAMPLE = """\
examples:
  partsight sign line3.partsight --key keys/factory
  partsight sign line3.partsight --key keys/factory --passphrase-file /media/safe/passphrase

It needs the package `cryptography`. Run `pip install 'partsight[sign]'` first.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight sign` to the command."""
    parser = subparsers.add_parser(
        "sign",
        help="sign a package, so that lines can check who made it",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that `partsight export` or `enroll` wrote")
    parser.add_argument("--key", required=True, metavar="KEY", help="private key that `partsight keygen` wrote")
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="file whose first line is the passphrase of KEY (default: the variable PARTSIGHT_KEY_PASSPHRASE)",
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
