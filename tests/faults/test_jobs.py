"""A sample of faults in every job; `python -m tests.faults` injects them all (docs/faults.md)."""

import pytest

from tests.faults.child import rows_of
from tests.faults.injector import why_not
from tests.faults.jobs import JOBS

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(900),  # half a minute on an idle machine, all of it
]

_CHANGES = ("error", "kill", "power")

# Jobs that run in one process, their faults, and the step between broken operations.
SAMPLES = [
    (("sign", "sign, a second key", "keygen"), (*_CHANGES, "unreadable"), 9),
    (("swap", "swap, watched"), ("gone", "kill"), 30),
    (("enrol",), ("kill", "power", "unreadable"), 110),
    (("train", "export"), ("kill",), 100),
]

LONG_SAMPLES = [
    (("sign", "sign, a second key", "keygen", "swap", "swap, watched"), (), 1),
    (("enrol", "enrol, searched"), (), 5),
    (("train", "fine-tune", "export"), (), 40),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample[0][0])
def test_a_fault_leaves_the_old_state_or_the_new_one_and_the_next_run_works(
    sample: tuple[tuple[str, ...], tuple[str, ...], int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    jobs, faults, every = sample
    options = [option for fault in faults for option in ("--fault", fault)]
    rows = rows_of(tmp_path_factory.mktemp("faults"), *jobs, *options, "--every", str(every))
    assert {job for job, _ in rows} == set(jobs)
    problems = [problem for row in rows.values() for problem in row["problems"]]
    assert not problems, "\n".join(problems)
    for (job, fault), row in rows.items():
        assert row["old"] + row["new"] == row["again"] == row["injected"], (job, fault)
        assert row["injected"] > 0 or row["operations"] == 0, (job, fault)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sample", LONG_SAMPLES, ids=lambda sample: sample[0][0])
def test_many_faults(
    sample: tuple[tuple[str, ...], tuple[str, ...], int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    test_a_fault_leaves_the_old_state_or_the_new_one_and_the_next_run_works(sample, tmp_path_factory)


def test_every_job_is_in_a_sample() -> None:
    assert {job for jobs, _, _ in LONG_SAMPLES for job in jobs} == set(JOBS)
