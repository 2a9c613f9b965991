"""Configurations: the providers and precisions that work here with a package, and why others do not."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import get_args

from partsight.cli.bench.facts import Configuration, Unavailable
from partsight.runtime import DependencyError, ModelPackage, PackageError, PartsightError, ProviderError, Recognizer
from partsight.runtime.inference import PROVIDERS, Arithmetic, find_provider, without_remedy

_PRECISIONS: tuple[Arithmetic, ...] = get_args(Arithmetic)


def find_configurations(
    package: ModelPackage, providers: Sequence[str] | None, precisions: Sequence[str] | None
) -> list[Configuration]:
    """Return the configurations to try.

    Args:
        package: Package to measure.
        providers: Names of the providers; None for all.
        precisions: Precisions to try even if the package has no such model; None for its own, and bf16 if it has fp32.

    Raises:
        ProviderError: A provider or a precision is unknown.
    """
    chosen = [find_provider(name) for name in PROVIDERS if providers is None or name in providers]
    for name in providers or ():
        find_provider(name)
    for name in precisions or ():
        if name not in _PRECISIONS:
            raise ProviderError(f"precision {name!r} is not known; expected some of {', '.join(_PRECISIONS)}")
    has = {*package.manifest.models, *(("bf16",) if "fp32" in package.manifest.models else ())}
    return [
        Configuration(provider.name, precision)
        for provider in chosen
        for precision in _PRECISIONS
        if (precision in precisions if precisions else precision in has and precision in provider.arithmetic)
    ]


def open_configurations(
    package: ModelPackage,
    configurations: Sequence[Configuration],
    batch: int,
    stack: ExitStack,
    tick: Callable[[str], None],
) -> tuple[dict[Configuration, Recognizer], list[Unavailable]]:
    """Open a recogniser for each configuration that works here.

    Args:
        package: Package to open.
        configurations: Configurations to try.
        batch: Most frames in one run of the network.
        stack: Stack that closes the recognisers.
        tick: Called before each trial.

    Returns:
        The open recognisers, and the configurations that do not work, with the reason.

    Raises:
        PartsightError: No configuration works; the message names each reason.
    """
    opened: dict[Configuration, Recognizer] = {}
    failed: dict[tuple[str, str], list[Arithmetic]] = {}
    for configuration in configurations:
        tick(f"loading {configuration}")
        try:
            opened[configuration] = stack.enter_context(_open(package, configuration, batch))
        except (ProviderError, DependencyError, PackageError) as error:
            failed.setdefault((configuration.provider, _brief(error)), []).append(configuration.precision)
    absent = [Unavailable(provider, tuple(precisions), reason) for (provider, reason), precisions in failed.items()]
    if not opened:
        reasons = "; ".join(f"{item.provider} ({', '.join(item.precisions)}): {item.reason}" for item in absent)
        raise ProviderError(
            f"no configuration works here: {reasons or 'the package has no such model'}. Expected a provider that "
            "computes one of these precisions. Run `partsight doctor`; it shows how to fix a provider"
        )
    return opened, absent


def open_baseline(
    package: ModelPackage, opened: Mapping[Configuration, Recognizer], batch: int, stack: ExitStack
) -> tuple[Configuration, Recognizer]:
    """Return the baseline: fp32 on the first provider that works.

    Args:
        package: Package to open if no fp32 configuration is open yet.
        opened: Open recognisers.
        batch: Most frames in one run of the network.
        stack: Stack that closes the recognisers.

    Raises:
        PartsightError: No provider computes the package in fp32 here.
    """
    for configuration, recognizer in opened.items():
        if configuration.precision == "fp32":
            return configuration, recognizer
    reasons = []
    for name in dict.fromkeys((*(configuration.provider for configuration in opened), *PROVIDERS)):
        try:
            return Configuration(name, "fp32"), stack.enter_context(_open(package, Configuration(name, "fp32"), batch))
        except (ProviderError, DependencyError, PackageError) as error:
            reasons.append(f"{name}: {_brief(error)}")
    raise PartsightError(
        f"no provider computes fp32 here, and bench needs fp32 to check the labels ({'; '.join(reasons)}). "
        "Run `partsight doctor`; it shows how to fix a provider"
    )


def _open(package: ModelPackage, configuration: Configuration, batch: int) -> Recognizer:
    return Recognizer(
        package.path, provider=configuration.provider, precision=configuration.precision, batch_size=batch
    )


def _brief(error: Exception) -> str:
    """Return the reason without the command that fixes it: `partsight doctor` shows that in full."""
    return " ".join(without_remedy(error).split())
