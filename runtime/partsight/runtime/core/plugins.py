"""Code that may be installed or not: libraries of extras, and plugins of other distributions."""

from collections.abc import Collection
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from partsight.runtime.core.errors import DependencyError, PartsightError


def import_extra(library: str, extra: str) -> ModuleType:
    """Import a library of an extra of partsight.

    Args:
        library: Name of the module.
        extra: Name of the extra that installs it.

    Raises:
        DependencyError: the library is not installed.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise DependencyError(
            f"{library.partition('.')[0]} cannot be imported ({error}); install it: pip install 'partsight[{extra}]'"
        ) from error


def plugin_names(group: str) -> list[str]:
    """Return the names of all plugins of a group, sorted; no plugin is imported.

    Args:
        group: Name of the entry points' group, such as `partsight.sinks`.
    """
    return sorted(entry_points(group=group).names)


def load_plugin(group: str, name: str, built_in: Collection[str], error: type[PartsightError]) -> Any | None:
    """Import the plugin that has a name.

    Args:
        group: Name of the entry points' group.
        name: Name of the entry point: for sinks and cameras the scheme of their addresses.
        built_in: Names that partsight itself uses: no plugin may have one.
        error: Class of the error to raise.

    Returns:
        The module or object that the entry point names, which has a function `open_address`; None if no distribution
        has such an entry point.

    Raises:
        PartsightError: partsight or a second distribution has the same name, the import fails, or the plugin has no
            `open_address`. The class is that of `error`.
    """
    found = list(entry_points(group=group, name=name))
    if not found:
        return None
    owners = [*(["partsight"] if name in built_in else []), *sorted(map(_owner, found))]
    if len(owners) > 1:
        raise error(
            f"{name}: {len(owners)} distributions add this name to {group}: {', '.join(owners)}; "
            "run `pip uninstall` for all but one, or rename the entry point"
        )
    return _load(found[0], group, error)


def _load(entry: EntryPoint, group: str, error: type[PartsightError]) -> Any:
    where = f"{entry.name}: entry point {entry.value!r} of {_owner(entry)} ({group})"
    try:
        plugin = entry.load()
    except Exception as cause:  # a plugin is any code: its import may fail in any way
        raise error(f"{where} cannot be imported: {type(cause).__name__}: {cause}; repair or uninstall it") from cause
    if not callable(getattr(plugin, "open_address", None)):
        raise error(f"{where} has no function open_address; add it to the module that the entry point names")
    return plugin


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"
