"""The screen `improve`: from confirmed frames to a package on the line, and back."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.calibration import vary
from partsight.runtime.core import PageError
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.page import PageSettings, Role
from partsight.runtime.page.improve.jobs import Jobs
from partsight.runtime.page.web.messages import messages_of
from tests.runtime.calibration.commissioning.lines import LABELS, LINE, part, write_package
from tests.runtime.page.conftest import Station
from tests.runtime.page.visitor import Reply, Visitor
from tests.tiny import solid
from tests.waiting import wait_until

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def matching_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "line3.partsight")


@pytest.fixture
def page_settings(tmp_path: Path, request: pytest.FixtureRequest) -> PageSettings:
    changes = getattr(request, "param", {})
    return PageSettings(**{"port": 0, "data": str(tmp_path / "data"), "feedback": str(tmp_path / "kept")} | changes)


def confirm(station: Station, count: int = 5) -> None:
    """Let the line see frames of each part, and confirm what they show."""
    rng = np.random.default_rng(0)
    events = station.show(*(vary(part(label), LINE, rng) for label in LABELS for _ in range(count)))
    true = {event.record.name: label for event, label in zip(events, np.repeat(np.array(LABELS), count), strict=True)}
    wait_until(lambda: len(read_feedback(station.kept).frames) == len(true))
    for frame in read_feedback(station.kept).frames:
        decide(station.kept, frame, "confirmed", str(true[frame.name]))


def name_new_part(station: Station, label: str) -> None:
    station.show(solid((0, 128, 255), 128, 128))
    wait_until(lambda: read_feedback(station.kept).of("open"))
    (frame,) = read_feedback(station.kept).of("open")
    decide(station.kept, frame, "confirmed", label)


def actions(station: Station) -> list[tuple[str, str]]:
    """Who did what, the oldest first, without what `Visitor` does."""
    entries = reversed(station.page.context.audit.entries())
    return [(entry.who, entry.action) for entry in entries if not entry.action.startswith("account")]


def wait_for_job(station: Station) -> Jobs:
    jobs = station.page.context.jobs
    wait_until(lambda: jobs.last and not jobs.last.is_running and jobs._child is None)
    return jobs


def second_package(station: Station) -> str:
    """Put another package on the shelf and return its id."""
    shelf = station.page.context.packages
    path = write_package(shelf.folder / "second.partsight", 0.8)
    return next(item.facts.package_id for item in shelf.packages() if item.facts.path == path)


def numbers(reply: Reply) -> set[str]:
    return set(re.findall(r'name="number" value="([0-9a-f]+)"', reply.text))


def next_step(station: Station, key: str, **values: object) -> bool:
    """Return whether the screen says first what a text says."""
    (found,) = re.findall(r'id="next">([^<]*)<', station.engineer().get("/improve").text)
    return bool(found == messages_of("en").text(f"improve.{key}", **values))


def ids(reply: Reply) -> set[str]:
    """Return the ids of all elements of a screen."""
    return set(re.findall(r' id="([^"]+)"', reply.text))


def is_care(station: Station) -> bool:
    """Return whether what the screen says first needs attention."""
    (found,) = re.findall(
        r'<div class="note( care)?">\s*(?:<p id="since">[^<]*</p>\s*)?<p class="improve-next"',
        station.engineer().get("/improve").text,
    )
    return bool(found)


def test_only_engineers_may(station: Station) -> None:
    operator, engineer = station.operator(), station.engineer()
    assert [operator.get(path).status for path in ("/improve", "/improve/job")] == [403, 403]
    posts = ("commission", "enroll", "cancel", "swap", "approve", "close")
    assert [operator.post(f"/improve/{path}").status for path in posts] == [403] * 6
    assert [engineer.post(f"/improve/{path}", csrf="wrong").status for path in posts] == [403] * 6
    assert engineer.get("/improve").status == 200
    assert Visitor(station.page, "emil", Role.ENGINEER, "de").get("/improve").status == 200
    assert station.page.context.jobs.last is None


def test_from_confirmed_frames_to_a_package_on_the_line_and_back(station: Station) -> None:
    engineer, before = station.engineer(), station.line.package_id
    assert next_step(station, "next_nothing")
    confirm(station)
    wait_until(lambda: next_step(station, "next_commission", frames=30))  # the folder is read once a second
    assert not is_care(station)
    assert engineer.post("/improve/commission").status == 303
    assert engineer.get("/improve").status == 200
    jobs = wait_for_job(station)
    assert jobs.last is not None
    assert (jobs.last.outcome, jobs.last.error) == ("done", "")
    assert jobs.last.result is not None
    made, verdict = jobs.last.result.package_id, jobs.last.result.verdict
    assert verdict is not None
    assert next_step(station, "next_not_ready" if verdict.level == "bad" else "next_use", package=made)
    found = ids(engineer.get("/improve"))
    assert "not-in-rates" in found
    assert not found & {"since", "restart", "previous"}
    assert engineer.post("/improve/swap", {"package_id": made}).status == 303
    assert station.line.package_id == made
    assert station.show(part("red"))[0].record.package_id == made
    wait_until(lambda: next_step(station, "next_review", frames=1))
    swapped = engineer.get("/improve")
    assert {"since", "restart", "previous"} <= ids(swapped)  # PACKAGE is no link: a restart undoes the swap
    assert f"{station.package.name} (" in swapped.text.split('id="previous"')[1]
    assert engineer.post("/improve/swap", {"package_id": before}).status == 303
    assert station.line.package_id == before
    assert actions(station) == [
        ("emil", action)
        for action in (
            "job_started", "job_done", "swap_requested", "package_swapped", "swap_requested", "package_swapped",
        )
    ]  # fmt: skip
    last, first = (entry for entry in station.page.context.audit.entries() if entry.action == "package_swapped")
    assert (first.before, first.after, last.before, last.after) == (before, made, made, before)


def test_the_report_may_run_nothing(station: Station) -> None:
    engineer = station.engineer()
    reply = engineer.get(f"/improve/report/{station.line.package_id}")
    assert (reply.status, reply.headers["x-content-type-options"]) == (200, "nosniff")
    policy = reply.headers["content-security-policy"]
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in policy.split(";")}
    assert "script-src" not in policy
    for name in ("0" * 16, HOSTILE.replace("/", "%2F")):
        assert engineer.get(f"/improve/report/{name}").status in (404, 409)
    assert station.operator().get(f"/improve/report/{station.line.package_id}").status == 403


def test_a_job_runs_is_shown_and_cancelled(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    event = f'{{"type":"progress","work":"{HOSTILE}","done":3,"total":7,"per_s":0.5,"left_s":8}}'
    code = f"import sys; print({event!r}, flush=True); sys.stdin.buffer.read()"
    monkeypatch.setattr("partsight.runtime.page.improve.jobs._COMMAND", (sys.executable, "-c", code))
    engineer, jobs = station.engineer(), station.page.context.jobs
    assert engineer.get("/improve/job").status == 303  # none runs
    engineer.post("/improve/commission")
    wait_until(lambda: jobs.last and jobs.last.progress)
    for reply in (engineer.get("/improve"), engineer.get("/improve/job", HX_Request="true")):
        assert reply.status == 200
        assert '<progress aria-label="&lt;script&gt;' in reply.text
        assert 'value="3.0" max="7.0"' in reply.text
    assert engineer.post("/improve/enroll").status == 409
    engineer.post("/improve/cancel")
    wait_for_job(station)
    ended = engineer.get("/improve/job", HX_Request="true")
    assert (ended.status, ended.headers["hx-redirect"]) == (204, "/improve")
    assert engineer.get("/improve").status == 200
    assert actions(station) == [("emil", "job_started"), ("emil", "job_cancelled")]


def test_a_job_that_failed_says_why(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    event = f'{{"type":"failed","error":"{HOSTILE}"}}'
    monkeypatch.setattr("partsight.runtime.page.improve.jobs._COMMAND", (sys.executable, "-c", f"print({event!r})"))
    engineer = station.engineer()
    engineer.post("/improve/commission")
    wait_for_job(station)
    text = engineer.get("/improve").text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert actions(station) == [("emil", "job_started"), ("emil", "job_failed")]
    assert next_step(station, "next_failed", job=messages_of("en").text("improve.job_commission"))
    assert is_care(station)
    again = text.split('id="result"')[1].split("</section>")[0]
    assert 'action="/improve/commission"' in again
    engineer.post("/improve/swap", {"package_id": second_package(station)})
    assert next_step(station, "next_nothing")  # something newer than the failure


def test_a_button_that_cannot_be_used_says_why(station: Station) -> None:
    assert {"why-not-commission", "why-not-enroll"} <= ids(station.engineer().get("/improve"))
    name_new_part(station, "bolt")
    wait_until(lambda: next_step(station, "next_enroll_one"))
    assert not {"why-not-commission", "why-not-enroll"} & ids(station.engineer().get("/improve"))


def test_too_many_frames_without_a_decision_come_first(station: Station) -> None:
    confirm(station)
    events = station.show(*[part("red")] * 5)
    wait_until(lambda: len(read_feedback(station.kept).of("open")) == len(events))
    decide(station.kept, max(read_feedback(station.kept).of("open"), key=lambda frame: frame.name), "confirmed", "red")
    wait_until(lambda: next_step(station, "next_decide", frames=4))
    assert is_care(station)
    assert not re.search(r'action="/improve/commission"[^\n]*<button>', station.engineer().get("/improve").text)


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_swap_is_confirmed_for_a_package_by_name(station: Station, language: str) -> None:
    second_package(station)
    visitor = Visitor(station.page, "erwin", Role.ENGINEER, language)
    sure = visitor.get("/improve").text.split('class="improve-sure"')[1].split("</div>")[0]
    assert "second.partsight (20" in sure


def test_labels_are_text(station: Station) -> None:
    name_new_part(station, HOSTILE)
    text = station.engineer().get("/improve").text
    assert HOSTILE not in text
    assert "<bdi>&lt;script&gt;" in text


@pytest.mark.parametrize("fields", [{}, {"package_id": ""}, {"package_id": "../x"}, {"package_id": HOSTILE * 40}])
def test_a_package_that_is_not_there(station: Station, fields: dict[str, str]) -> None:
    reply = station.engineer().post("/improve/swap", fields)
    assert reply.status == 409
    assert HOSTILE not in reply.text
    assert actions(station) == []


def test_a_package_that_the_line_refuses(station: Station) -> None:
    other = second_package(station)
    path = station.page.context.packages.find(other).facts.path
    (path / "model.fp32.onnx").write_bytes(b"damaged")
    assert station.engineer().post("/improve/swap", {"package_id": other}).status == 409
    assert actions(station) == [("emil", "swap_requested"), ("emil", "package_swap_failed")]
    assert station.line.package_id != other


@pytest.mark.parametrize("page_settings", [{"approval": True}], indirect=True)
def test_a_second_person_approves(station: Station) -> None:
    emil, erna = station.engineer(), Visitor(station.page, "erna", Role.ENGINEER)
    other, before = second_package(station), station.line.package_id
    assert emil.post("/improve/swap", {"package_id": other}).status == 303
    assert station.line.package_id == before
    (number,) = numbers(emil.get("/improve"))
    assert numbers(erna.get("/improve")) == {number}
    assert emil.post("/improve/approve", {"number": number}).status == 409
    assert erna.post("/improve/approve", {"number": "0" * 16}).status == 409
    assert erna.post("/improve/swap", {"package_id": other}).status == 409  # one is open
    assert station.line.package_id == before
    assert erna.post("/improve/approve", {"number": number}).status == 303
    assert station.line.package_id == other
    assert erna.post("/improve/approve", {"number": number}).status == 409
    assert actions(station) == [("emil", "swap_requested"), ("erna", "swap_approved"), ("erna", "package_swapped")]


@pytest.mark.parametrize("page_settings", [{"approval": True}], indirect=True)
def test_a_request_is_rejected_or_withdrawn(station: Station) -> None:
    emil, erna = station.engineer(), Visitor(station.page, "erna", Role.ENGINEER)
    other = second_package(station)
    for person in (erna, emil):
        emil.post("/improve/swap", {"package_id": other})
        (number,) = numbers(person.get("/improve"))
        assert person.post("/improve/close", {"number": number}).status == 303
        assert person.post("/improve/close", {"number": number}).status == 409
    assert station.line.package_id != other
    assert actions(station) == [
        ("emil", "swap_requested"), ("erna", "swap_rejected"), ("emil", "swap_requested"), ("emil", "swap_withdrawn"),
    ]  # fmt: skip


@pytest.mark.parametrize("page_settings", [{"feedback": ""}], indirect=True)
def test_without_kept_frames_there_is_nothing_to_improve(station: Station) -> None:
    engineer = station.engineer()
    assert engineer.get("/improve").status == 200
    assert engineer.post("/improve/commission").status == 409


def test_what_cannot_be_logged_does_not_happen(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    other, before, engineer = second_package(station), station.line.package_id, station.engineer()

    def refuse(*_: object) -> None:
        raise PageError("the disk is full")

    monkeypatch.setattr(type(station.page.context.audit), "add", refuse)
    assert engineer.post("/improve/swap", {"package_id": other}).status == 409
    assert engineer.post("/improve/commission").status == 409
    assert station.line.package_id == before
    last = station.page.context.jobs.last
    assert last is None or not last.is_running
