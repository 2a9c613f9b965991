"""The page of a line: settings, conflicts and warnings. Only a line with --page loads the libraries of the extra."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partsight.runtime import PageError
from partsight.runtime.core import import_extra
from partsight.runtime.sinks import parse

if TYPE_CHECKING:
    from partsight.cli.run.config import LineConfig
    from partsight.runtime.page import PageSettings

_LIBRARIES = ("argon2", "starlette", "uvicorn")
_FOLDER, _IMAGES = "folder:", "images:"


@dataclass(frozen=True)
class PageWarning:
    """A warning about the page of a line.

    Attributes:
        event: Name of the event in the log.
        text: Sentence.
    """

    event: str
    text: str


def read_page_settings(address: str, sinks: tuple[str, ...] = ()) -> "PageSettings":
    """Return the settings of a page; without `feedback=` its folder is that of the first sink `images:`.

    Args:
        address: Address of the page, `[HOST]:PORT?option=value`.
        sinks: Addresses of the line's sinks.

    Raises:
        PageError: the address is malformed, or an option is wrong.
        DependencyError: a library of the extra `page` is not installed.
    """
    for library in _LIBRARIES:
        import_extra(library, "page")
    import msgspec

    from partsight.runtime.page import parse_page_address

    settings = parse_page_address(address)
    kept = [parse(sink).place for sink in sinks if sink.startswith(_IMAGES)]
    if settings.feedback or not kept:
        return settings
    return msgspec.structs.replace(settings, feedback=kept[0])


def check_page(config: "LineConfig") -> None:
    """Refuse a data folder that a camera reads or a sink fills: the page's accounts and packages lie there.

    Raises:
        PageError: the data folder is in the folder of a camera or of a sink `images:`.
        DependencyError: a library of the extra `page` is not installed.
    """
    if config.page is None:
        return
    data = Path(os.path.realpath(read_page_settings(config.page).data))
    folders = {
        camera.address.removeprefix(_FOLDER): f"camera {name} reads"
        for name, camera in config.cameras.items()
        if camera.address.startswith(_FOLDER)
    }
    folders |= {parse(sink).place: f"sink {sink} fills" for sink in config.sinks if sink.startswith(_IMAGES)}
    for folder, use in folders.items():
        if data.is_relative_to(os.path.realpath(folder)):
            raise PageError(
                f"page: its data folder {data} is in {folder}, which {use}; name a folder outside it in data="
            )


def page_warnings(config: "LineConfig") -> Iterator[PageWarning]:
    """Yield a warning for each thing that people cannot do on the page of this line, with the remedy."""
    if config.page is None:
        return
    settings = read_page_settings(config.page, config.sinks)
    if not has_account(settings.data):
        yield PageWarning(
            "page_without_account",
            f"page: nobody can log in; run `partsight account add NAME --role admin --data {settings.data}`",
        )
    if not settings.feedback:
        yield PageWarning(
            "page_without_frames",
            "page: the line keeps no frames, so nobody can review them; add `--sink images:FOLDER`",
        )
    if config.watch:
        yield PageWarning(
            "page_and_watch",
            f"page: with --watch, a new package at {config.package} replaces the one that people chose on the page; "
            "leave out --watch if only people shall choose",
        )
    if Path(config.package).suffix == ".onnx":
        yield PageWarning(
            "page_without_golden_images",
            f"page: {config.package} is a model alone: Live has no golden images, and nobody can commission it; name "
            "the folder of its package",
        )


def has_account(data: str) -> bool:
    """Return whether somebody may log in with a data folder; makes neither the folder nor its file.

    Raises:
        PageError: the folder or its database cannot be used.
    """
    from partsight.runtime.page import Accounts, Database
    from partsight.runtime.page.access.database import FILE

    if not os.path.isfile(Path(data) / FILE):  # noqa: PTH113 (Path.is_file raises if access is denied)
        return False
    database = Database(data)
    try:
        return any(account.is_active for account in Accounts(database).all())
    finally:
        database.close()
