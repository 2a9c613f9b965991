"""Old names, which work for one more release and warn."""

import warnings


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller of the caller that it uses an old name.

    Args:
        old: Name that the caller used.
        new: Name to use.
    """
    warnings.warn(f"{old} is the old name; use {new}", DeprecationWarning, stacklevel=3)
