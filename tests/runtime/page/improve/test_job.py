"""The process of a job."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from partsight.runtime.core import EnrollError, PageError
from partsight.runtime.package import ModelPackage
from partsight.runtime.page.improve import jobs
from partsight.runtime.page.improve.job import do
from partsight.runtime.page.improve.job_protocol import JobEvent, JobKind, JobRequest, JobResult
from tests.runtime.enrolment.enrolling import ORANGE, VIOLET, picture, write_package
from tests.tiny import solid
from tests.waiting import HANG_S


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight")


def request(package: Path, folder: Path, kind: JobKind = "enroll") -> JobRequest:
    package_id = ModelPackage.examine(package).package_id
    out = str(folder / "new.partsight")
    return JobRequest(kind=kind, package=str(package), package_id=package_id, feedback=str(folder / "kept"), out=out)


def confirm(folder: Path, label: str, colour: str | tuple[int, int, int], count: int = 1) -> None:
    place = folder / "kept" / "confirmed" / label
    place.mkdir(parents=True)
    for number in range(count):
        image = solid(colour)
        image[0, 0] = number  # no file is the copy of another one
        picture(place / f"{label} {number}.png", image)


def test_an_enrolment_takes_the_parts_that_the_package_does_not_have(package: Path, tmp_path: Path) -> None:
    confirm(tmp_path, "red", "red")
    confirm(tmp_path, "orange", ORANGE)
    confirm(tmp_path, "violet", VIOLET, count=7)
    copy = tmp_path / "kept" / "confirmed" / "orange" / "orange copy.png"
    copy.write_bytes(copy.with_stem("orange 0").read_bytes())
    result = do(request(package, tmp_path))
    assert {part.label: part.images for part in result.new_parts} == {"orange": 1, "violet": 5}
    made = ModelPackage.examine(tmp_path / "new.partsight")
    assert made.package_id == result.package_id
    assert made.manifest.labels[-2:] == ("orange", "violet")


def test_an_enrolment_without_new_parts(package: Path, tmp_path: Path) -> None:
    confirm(tmp_path, "red", "red")
    with pytest.raises(PageError):
        do(request(package, tmp_path))


def test_an_image_that_cannot_be_read(package: Path, tmp_path: Path) -> None:
    confirm(tmp_path, "orange", ORANGE)
    (tmp_path / "kept" / "confirmed" / "orange" / "orange 0.png").write_bytes(b"no picture")
    with pytest.raises(EnrollError):
        do(request(package, tmp_path))


def test_it_starts_from_the_package_that_the_line_has(package: Path, tmp_path: Path) -> None:
    confirm(tmp_path, "orange", ORANGE)
    with pytest.raises(PageError):
        do(msgspec.structs.replace(request(package, tmp_path), package_id="0" * 16))
    assert not (tmp_path / "new.partsight").exists()


def test_it_ends_when_its_parent_does(package: Path, tmp_path: Path) -> None:
    confirm(tmp_path, "orange", ORANGE)
    pipe = subprocess.PIPE
    with subprocess.Popen(jobs._COMMAND, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        out, error = child.communicate(msgspec.json.encode(request(package, tmp_path)) + b"\n", timeout=HANG_S)
    assert (child.returncode, out, error) == (3, b"", b"")


def test_it_goes_last_and_what_libraries_print_is_no_event(package: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys; from partsight.runtime.page.improve import job\n"
        "from partsight.runtime.page.improve.job_protocol import *\n"
        "def do(request):\n"
        "    print(getattr(os, 'nice', int)(0), flush=True); os.write(1, b'written'); assert sys.stdin.read() == ''\n"
        "    return JobResult(package_id='0123', out=request.out)\n"
        "job.do = do; sys.exit(job.main())"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen((sys.executable, "-c", code), stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(msgspec.json.encode(request(package, tmp_path)) + b"\n")
        child.stdin.flush()
        (line,) = child.stdout.readlines()
        assert child.wait(HANG_S) == 0
        assert child.stderr.read() == (b"19\nwritten" if hasattr(os, "nice") else b"0\nwritten")
    event: JobEvent = msgspec.json.decode(line, type=JobEvent)
    assert isinstance(event, JobResult)
