"""A batch on three simulated machines, of which one is killed in the midst of the work. A program of its own.

It needs a network of its own, in which Ray's machines can have one address:

    unshare -n sh -c 'ip link set lo up && python -m tests.runtime.cluster.batch.three_nodes PACKAGE FOLDER OUT'

It prints one JSON line with the counts.
"""

import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # the simulated cluster has no token, but this user may have one
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_initial_delay_ms": "1000",
}

from partsight.runtime.cluster.batch import BatchRequest, recognize_archive
from tests.runtime.cluster.batch.archives import labels_of, plain_labels, rows_of
from tests.waiting import wait_until

KILL_AFTER = 4
"""Finished chunks after which a machine is killed; all three then work."""


def main(package: Path, folder: Path, out: Path) -> None:
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    victim, _ = (cluster.add_node(**small) for _ in range(2))
    request = BatchRequest(package=package, source=folder, out=out, address=cluster.address)
    finished: list[int] = []

    def kill() -> None:
        wait_until(lambda: len(list(request.work_folder.glob("*.parquet"))) >= KILL_AFTER)
        finished.append(len(list(request.work_folder.glob("*.parquet"))))
        cluster.remove_node(victim, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    done = recognize_archive(request)
    killer.join()
    cluster.shutdown()
    rows = rows_of(out)
    times = Counter(row["index"] for row in rows)
    facts = {
        "frames": done.counts.frames,
        "rows": len(rows),
        "twice": sum(count > 1 for count in times.values()),
        "missing": len(set(range(done.counts.frames)) - set(times)),
        "in_order": [row["index"] for row in rows] == list(range(len(rows))),
        "chunks_before_the_kill": finished[0],
        "as_plain_loop": labels_of(rows) == plain_labels(package, folder),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
