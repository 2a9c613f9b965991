"""`partsight doctor`: the abilities of this machine, and the commands that add missing ones."""

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.streams import require_stdout

if TYPE_CHECKING:
    from partsight.cli.machine import Cpu, CpuFeature, MachineFacts
    from partsight.cli.probe import ProviderCheck

_DESCRIPTION = """\
Show the libraries and the processor of this machine, the execution providers that work, libraries that overwrite each
other's files, and the libraries that are missing for each job. doctor tests each provider: it loads and runs a small
model on it.

The exit code is 0 if a line can run here. It is 1 if no provider works, or if libraries overwrite each other.
"""

_EXAMPLE = """\
examples:
  partsight doctor
  partsight doctor --json > machine.json
  partsight doctor --sbom > partsight.cdx.json
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight doctor` to the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine, and show how to fix problems",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the facts as JSON")
    form.add_argument(
        "--sbom", action="store_true", help="print a bill of materials (CycloneDX JSON) of the installed runtime"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Gather the facts and print them."""
    if args.json or args.sbom:
        require_stdout()
    if args.sbom:
        from partsight.cli.sbom import make_sbom

        print(json.dumps(make_sbom(), indent=1, ensure_ascii=False))
        return ExitCode.DONE
    from partsight.cli.machine import gather

    facts = gather()
    if args.json:
        print(json.dumps({"is_well": facts.is_well, **dataclasses.asdict(facts)}, indent=1, ensure_ascii=False))
    else:
        print_facts(facts)
    return ExitCode.DONE if facts.is_well else ExitCode.ERROR


def print_facts(facts: "MachineFacts") -> None:
    """Print the facts as text."""
    print(f"partsight {facts.partsight}, Python {facts.python}, {facts.platform}")
    print("\nlibraries")
    for name, version in facts.libraries.items():
        if version is not None:
            _print_row(name, version)
    _print_cpu(facts.cpu)
    for name, device in facts.devices.items():
        _print_row(name, device)
    print("\nexecution providers")
    for provider in facts.providers:
        _print_provider(provider)
    if facts.runtime_error:
        print(f"  none: {facts.runtime_error}")
    _print_clashes(facts)
    _print_jobs(facts)
    print()
    print("this machine can run partsight" if facts.is_well else "this machine CANNOT run partsight yet; see above")


def _print_row(name: str, value: str) -> None:
    print(f"  {name:<32}{value}")


def _print_cpu(cpu: "Cpu") -> None:
    print(f"\nprocessor: {cpu.name}")
    _print_row("cores", f"{cpu.cores} logical, {cpu.usable_cores} of them for this process")
    for feature in cpu.features:
        _print_row(feature.name, f"{_presence(feature):<13}{feature.use}")


def _presence(feature: "CpuFeature") -> str:
    if feature.present is None:
        return "not visible"
    return "yes" if feature.present else "no"


def _print_provider(provider: "ProviderCheck") -> None:
    _print_row(provider.name, "usable" if provider.usable else f"not usable: {provider.reason}")
    if provider.fix:
        _print_row("", f"fix it with: {provider.fix}")


def _print_clashes(facts: "MachineFacts") -> None:
    print("\nclashes")
    for clash in facts.clashes:
        print(f"  {' and '.join(clash.distributions)} overwrite each other's files; fix it with:")
        for command in clash.fix:
            print(f"    {command}")
    if not facts.clashes:
        print("  none")


def _print_jobs(facts: "MachineFacts") -> None:
    print("\njobs")
    for job in facts.jobs:
        _print_row(job.name, f"missing: {', '.join(job.missing)}" if job.missing else "all installed")
        if job.fix:
            _print_row("", f"install it with: {job.fix}")
