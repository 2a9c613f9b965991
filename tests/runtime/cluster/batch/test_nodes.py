"""A machine of the cluster is lost in the midst of a batch: every frame has its row once."""

import json
import subprocess
import sys
from pathlib import Path
from shlex import join

import pytest

from tests.runtime.cluster.batch.archives import write_folder
from tests.waiting import HANG_S

NETWORK = ["unshare", "--net", "--map-root-user", "sh", "-c"]
UP = "ip link set lo up"


def can_have_networks() -> bool:
    try:
        return subprocess.run([*NETWORK, UP], capture_output=True, check=False, timeout=HANG_S).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.long
@pytest.mark.skipif(not can_have_networks(), reason="this machine allows no network namespace")
def test_a_lost_machine_loses_and_doubles_no_frame(package: Path, tmp_path: Path) -> None:
    archive = write_folder(tmp_path / "archive", 1200)
    program = [
        sys.executable,
        "-m",
        "tests.runtime.cluster.batch.three_nodes",
        package,
        archive,
        tmp_path / "out.parquet",
    ]
    command = [*NETWORK, f"{UP} && exec {join(map(str, program))}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * HANG_S)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    print(facts)
    assert facts | {"chunks_before_the_kill": 4} == {
        "frames": 1201,
        "rows": 1201,
        "twice": 0,
        "missing": 0,
        "in_order": True,
        "chunks_before_the_kill": 4,
        "as_plain_loop": True,
    }
