"""Passwords of sinks: from a file that nobody else reads, or from the environment, never from an address."""

import os
from pathlib import Path

from partsight.runtime.core import KeyFileError, SinkError, check_secret, read_key_file


def read_password(where: object, username: str, file: str, variable: str) -> str:
    """Return the password of a user; empty if there is no user, or neither file nor variable.

    Args:
        where: the sink's address, for messages.
        username: whose it is; empty for nobody.
        file: whose first line it is; empty for the variable.
        variable: of the environment.

    Raises:
        SinkError: the file is given without a user, cannot be read, may be read by others, or has an empty first line.
    """
    if not username:
        if file:
            raise SinkError(f"sink {where}: password_file is given without username; give both, or neither")
        return ""
    if not file:
        return os.environ.get(variable, "")
    try:
        lines = read_key_file(Path(file), check_secret).decode("utf-8-sig").split("\n")
    except (KeyFileError, ValueError) as error:
        raise SinkError(f"sink {where}: password_file: {error}") from error
    password = lines[0].rstrip("\r")
    if not password:
        raise SinkError(
            f"sink {where}: the first line of {file} has no password for user {username!r}; write one there"
        )
    return password
