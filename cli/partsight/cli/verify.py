"""`partsight verify`: check the signature of a package."""

import argparse
from typing import Any

from partsight.cli.exit_codes import ExitCode

_DESCRIPTION = """\
Check that a trusted key signed the package, that every file is as it was signed, and that there is no other file. The
exit code is 0 if so; else it is 1, with the reason on stderr. Recognizer(PACKAGE, trusted_keys=[KEY.pub, ...]) makes
the same check before it loads a package.

Without --key, the trusted keys of this machine count (docs/signing.md). If there are any, they always count.
"""

_EXAMPLE = """\
examples:
  partsight verify line3.partsight --key factory.pub
  partsight verify line3.partsight --key factory-2025.pub --key factory-2026.pub
  partsight verify line3.partsight

It needs the package `cryptography`. Run `pip install 'partsight[sign]'` first.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight verify` to the command."""
    parser = subparsers.add_parser(
        "verify",
        help="check who signed a package, and that no file has changed",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package to check")
    parser.add_argument(
        "--key",
        action="append",
        metavar="KEY.pub",
        help="public key that must have signed; repeat it for several keys, one of which must have signed",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the package and return the exit code."""
    from partsight.runtime.package import ModelPackage
    from partsight.runtime.signing import machine_demand

    if args.key is None and machine_demand() is None:
        args.parser.error("expected --key KEY.pub, since this machine has no trusted keys")
    package = ModelPackage.read(args.package, args.key)
    print(f"package:   {package.path}")
    print(f"id:        {package.package_id}")
    print(f"signed by: key {', '.join(package.signed_by)}; {len(package.hashes())} files, all as they were signed")
    return ExitCode.DONE
