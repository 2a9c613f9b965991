"""`partsight account`: accounts of the page."""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.streams import require_stdout

if TYPE_CHECKING:
    from partsight.runtime.page import Accounts

_DESCRIPTION = """\
Make the accounts of people who use the page of a line, or help a person who forgot the password:

  add NAME       make an account
  password NAME  give an account a new password
  list           print all accounts

The page does the rest: an admin makes other accounts there, changes roles, and deactivates accounts. The line may run
meanwhile. A new password ends all sessions of the account, within seconds on the page of a running line. The audit log
of the page gets each change, in the name of this machine's user.

partsight asks for the password twice, or reads it from the first line of a file. There is no option for the password
itself: all users of a machine can see command lines.
"""

_EXAMPLE = """\
examples:
  partsight account add ada --role admin --data page
  partsight account add olga --role operator --data page --password-file /media/safe/password
  partsight account password ada --data page
  partsight account list --data page

It needs the extra `page`. Run `pip install 'partsight[page]'` first. docs/page.md explains the page.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight account` to the command."""
    parser = subparsers.add_parser(
        "account",
        help="make accounts of the page, or give one a new password",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", metavar="ACTION", choices=("add", "password", "list"), help="add, password or list")
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of the account; case does not count")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="data folder of the page; add makes it")
    parser.add_argument(
        "--role", choices=("operator", "engineer", "admin"), help="what the person may do; add needs it"
    )
    parser.add_argument("--password-file", metavar="FILE", help="file whose first line is the password")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the action and return the exit code."""
    _check_usage(args)
    from partsight.runtime.core import PageError, import_extra

    for library in ("argon2", "starlette", "uvicorn"):
        import_extra(library, "page")
    from partsight.runtime.page import Accounts, Database
    from partsight.runtime.page.access.database import FILE

    if args.action != "add" and not (Path(args.data) / FILE).exists():
        raise PageError(f"{args.data}: has no accounts; name the folder of the page's option data=, or add one first")
    database = Database(args.data)
    try:
        return _act(args, Accounts(database))
    finally:
        database.close()


def _check_usage(args: argparse.Namespace) -> None:
    is_listing = args.action == "list"
    if is_listing == bool(args.name):
        args.parser.error(f"{args.action} {'takes no' if is_listing else 'needs a'} NAME")
    if (args.action == "add") != bool(args.role):
        args.parser.error("add needs --role" if args.action == "add" else f"{args.action} takes no --role")
    if is_listing and args.password_file:
        args.parser.error("list takes no --password-file")


def _act(args: argparse.Namespace, accounts: "Accounts") -> int:
    if args.action == "list":
        return _list(accounts)
    from partsight.runtime.core import PageError
    from partsight.runtime.page.access.accounts import parse_role

    found = accounts.find(args.name)
    if args.action == "password" and found is None:
        raise PageError(f"there is no account {args.name!r}; run `partsight account list --data {args.data}`")
    by = f"command line ({_user()})"
    password = _read_password(args)
    if args.action == "add":
        account = accounts.add(args.name, parse_role(args.role), password, by=by)
        print(f"added: {account.name}, {account.role.word}")
    else:
        account = accounts.change_password(args.name, password, by=by)
        print(f"new password: {account.name}; all sessions of the account end")
        if not account.is_active:
            print(
                f"partsight: warning: {account.name} is not active; an admin activates it on the page", file=sys.stderr
            )
    return ExitCode.DONE


def _list(accounts: "Accounts") -> int:
    require_stdout()
    for account in accounts.all():
        print(account.name, account.role.word, "active" if account.is_active else "inactive", sep="\t")
    return ExitCode.DONE


def _read_password(args: argparse.Namespace) -> str:
    """Return the password of a file, or one that a person types twice; raises PageError or KeyFileError."""
    from partsight.runtime.core import PageError, check_secret, read_key_file

    if args.password_file:
        try:
            text = read_key_file(Path(args.password_file), check_secret).decode("utf-8-sig")
        except ValueError as error:
            raise PageError(f"{args.password_file}: is no UTF-8 text ({error}); write the password there") from error
        return text.split("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        args.parser.error("standard input is no terminal; use --password-file FILE")
    password = getpass.getpass(f"password of {args.name}: ")
    if getpass.getpass("the same again: ") != password:
        raise PageError("the two passwords differ; run the command again")
    return password


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
