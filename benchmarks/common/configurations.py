"""Configurations of a package, each a provider with a precision, and the reasons why some do not work here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from partsight.cli.bench.facts import Configuration
from partsight.runtime import DependencyError, PackageError, ProviderError, Recognizer
from partsight.runtime.core import progress
from partsight.runtime.inference import PROVIDERS, Arithmetic

ARITHMETIC: tuple[Arithmetic, ...] = get_args(Arithmetic)


def all_configurations(providers: Sequence[str] | None) -> list[Configuration]:
    """Return each provider with each precision that it computes; None means all providers."""
    return [
        Configuration(name, precision)
        for name in providers or PROVIDERS
        for precision in ARITHMETIC
        if precision in PROVIDERS[name].arithmetic
    ]


def open_package(package: Path, configuration: Configuration, **options: Any) -> Recognizer:
    """Open a package in one configuration, with options of `Recognizer`."""
    return Recognizer(package, provider=configuration.provider, precision=configuration.precision, **options)


def open_all(
    package: Path, providers: Sequence[str] | None, **options: Any
) -> tuple[dict[Configuration, Recognizer], dict[str, str]]:
    """Return a recogniser for each configuration that works here, and the reasons for all others.

    Args:
        package: Folder of the package.
        providers: Names of the providers to try; None for all.
        options: Options of `Recognizer`.
    """
    opened: dict[Configuration, Recognizer] = {}
    left_out: dict[str, str] = {}
    configurations = all_configurations(providers)
    for configuration in progress(configurations, len(configurations), "loading", "configuration"):
        try:
            opened[configuration] = open_package(package, configuration, **options)
        except (ProviderError, DependencyError, PackageError) as error:
            left_out[str(configuration)] = brief(error)
    return opened, left_out


def brief(error: Exception | str, length: int = 160) -> str:
    """Return the start of an error's text, on one line that fits into a table."""
    text = " ".join(str(error).split()).replace("|", "/")
    return text if len(text) <= length else f"{text[:length]}…"


def left_out_text(left_out: Mapping[str, str]) -> str:
    """Return a line of Markdown for each reason why competitors were left out."""
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    return "\n".join(f"- Left out: {'; '.join(names)} ({why})" for why, names in reasons.items())
