"""The package's report: go or no-go."""

import shlex
from pathlib import Path

import msgspec
import pytest

from partsight.cli.main import build_parser
from partsight.export.report import findings_of_export, judge, tasks
from partsight.runtime import ModelPackage
from partsight.runtime.core import Level
from partsight.train.advice import Finding

GOOD, CARE, BAD = (Finding(level, level) for level in ("good", "care", "bad"))
OUT = Path("packages") / "line3.partsight"


@pytest.mark.parametrize(
    ("findings", "level"), [((GOOD, GOOD), "good"), ((GOOD, CARE), "care"), ((BAD, CARE, GOOD), "bad")]
)
def test_the_worst_finding_decides(package: ModelPackage, findings: tuple[Finding, ...], level: Level) -> None:
    verdict = judge(package.manifest, findings)
    assert verdict.level == level
    assert verdict.word.startswith("No") == (level == "bad")
    assert str(len(package.manifest.labels)) in verdict.sentence
    assert verdict.reasons == tuple(item.reason for item in findings)


def test_a_good_package_goes_to_the_line() -> None:
    commands = [shlex.split(task.command) for task in tasks((GOOD,), OUT)]
    assert [command[1] for command in commands] == ["run", "review", "commission"]
    assert all(str(OUT) in command for command in commands)
    assert commands[-1][-1] == str(OUT.with_name("line3_fitted.partsight"))
    for command in commands:
        build_parser().parse_args(command[1:])


def test_a_bad_package_does_not() -> None:
    assert not any(task.command for task in tasks((BAD, GOOD), OUT))


def test_the_report_names_a_refused_precision(package: ModelPackage) -> None:
    manifest = msgspec.structs.replace(package.manifest, refused={"int8": "other answers"})
    parity = package.model("fp32").parity
    assert parity is not None
    assert any("INT8" in item.reason for item in findings_of_export(manifest, parity))
