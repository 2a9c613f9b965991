"""Passwords of sinks: from a file that only its owner can read, or from the environment, never from an address."""

import os
from pathlib import Path

from partsight.runtime.core import KeyFileError, SinkError, check_secret, read_key_file


def read_password(where: object, username: str, file: str, variable: str) -> str:
    """Return the password of a user; empty without a user, or with neither file nor variable.

    Args:
        where: Address of the sink, for messages.
        username: Name of the user; empty for none.
        file: File whose first line is the password; empty for the variable.
        variable: Environment variable of the password.

    Raises:
        SinkError: there is a file without a user, the file cannot be read, others may read it, or its first line is
            empty.
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
