"""The ways to run a package here: which providers and precisions can be had, and why others cannot."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import get_args

from partsight.cli.bench_facts import Absent, Way
from partsight.runtime import DependencyError, ModelPackage, PackageError, PartsightError, ProviderError, Recognizer
from partsight.runtime.inference import PROVIDERS, Arithmetic, find_provider

_PRECISIONS: tuple[Arithmetic, ...] = get_args(Arithmetic)


def find_ways(package: ModelPackage, providers: Sequence[str] | None, precisions: Sequence[str] | None) -> list[Way]:
    """Return what to try.

    Args:
        package: which brings the precisions.
        providers: to try; None for all.
        precisions: to try, whether the package has them or not; None for those that it has, and bf16 beside fp32.

    Raises:
        ProviderError: a provider or a precision is not known.
    """
    chosen = [find_provider(name) for name in PROVIDERS if providers is None or name in providers]
    for name in providers or ():
        find_provider(name)
    for name in precisions or ():
        if name not in _PRECISIONS:
            raise ProviderError(f"precision {name!r} is not known; expected some of {', '.join(_PRECISIONS)}")
    has = {*package.manifest.models, *(("bf16",) if "fp32" in package.manifest.models else ())}
    return [
        Way(provider.name, precision)
        for provider in chosen
        for precision in _PRECISIONS
        if (precision in precisions if precisions else precision in has and precision in provider.arithmetic)
    ]


def open_ways(
    package: ModelPackage, ways: Sequence[Way], batch: int, stack: ExitStack, tick: Callable[[str], None]
) -> tuple[dict[Way, Recognizer], list[Absent]]:
    """Open what works here.

    Args:
        package: to open.
        ways: to try.
        batch: most frames in one run of the network.
        stack: closes what was opened.
        tick: is told of each way that is tried.

    Returns:
        The open recognisers, and what cannot be had, with the reason.

    Raises:
        PartsightError: none works; the message names each reason.
    """
    opened: dict[Way, Recognizer] = {}
    reasons: dict[tuple[str, str], list[Arithmetic]] = {}
    for way in ways:
        tick(f"loading {way}")
        try:
            opened[way] = stack.enter_context(_open(package, way, batch))
        except (ProviderError, DependencyError, PackageError) as error:
            reasons.setdefault((way.provider, _brief(error)), []).append(way.precision)
    absent = [Absent(provider, tuple(precisions), reason) for (provider, reason), precisions in reasons.items()]
    if not opened:
        said = "; ".join(f"{item.provider} ({', '.join(item.precisions)}): {item.reason}" for item in absent)
        raise ProviderError(
            f"nothing of what was asked for works here: {said or 'the package has no such model'}. Expected at least "
            "one provider that computes one of these precisions: `partsight doctor` shows how to mend it"
        )
    return opened, absent


def open_baseline(
    package: ModelPackage, opened: Mapping[Way, Recognizer], batch: int, stack: ExitStack
) -> tuple[Way, Recognizer]:
    """Return fp32 on the first provider that works, which answers of other ways are compared with.

    Args:
        package: to open, where no fp32 is open yet.
        opened: what is open.
        batch: most frames in one run of the network.
        stack: closes what was opened.

    Raises:
        PartsightError: no provider computes the package in fp32 here.
    """
    for way, recognizer in opened.items():
        if way.precision == "fp32":
            return way, recognizer
    said = []
    for name in dict.fromkeys((*(way.provider for way in opened), *PROVIDERS)):
        try:
            return Way(name, "fp32"), stack.enter_context(_open(package, Way(name, "fp32"), batch))
        except (ProviderError, DependencyError, PackageError) as error:
            said.append(f"{name}: {_brief(error)}")
    raise PartsightError(
        f"labels cannot be compared with those of fp32, which no provider computes here ({'; '.join(said)}); expected "
        "one, so that no precision is recommended whose labels are wrong: `partsight doctor` shows how to mend it"
    )


def _open(package: ModelPackage, way: Way, batch: int) -> Recognizer:
    return Recognizer(package.path, provider=way.provider, precision=way.precision, batch_size=batch)


def _brief(error: Exception) -> str:
    """Return why, without the commands that mend it: `partsight doctor` says them in full."""
    text = " ".join(str(error).split())
    for mend in ("; mend it with", "; install it with", ". `partsight doctor`"):
        text = text.partition(mend)[0]
    return text
