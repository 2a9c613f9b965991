"""The option `--address` of verbs whose loops Ray can share among the cores of a machine or of a cluster."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partsight.runtime.core import BatchMap

LOCAL = "local"
"""Address of Ray on this machine alone."""


def add_address(parser: argparse.ArgumentParser, work: str) -> None:
    """Add `--address` to a verb that does without Ray.

    Args:
        parser: Parser of the verb.
        work: Name of the work that Ray shares, such as "features of golden images".
    """
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"share {work} among the machines of a Ray cluster: its head, auto for the cluster of this machine, or "
        "local for all cores of this machine (default: one process; docs/batch.md)",
    )


def ray_address(address: str) -> str | None:
    """Return the address as `ray_session` takes it."""
    return None if address == LOCAL else address


@contextmanager
def batch_map(address: str | None) -> Iterator["BatchMap"]:
    """Yield the map over the batches of a loop: this process if there is no address, else the actors of Ray."""
    from partsight.runtime.core import map_here

    if address is None:
        yield map_here
        return
    from partsight.runtime.cluster.batch import RayMap, plan_actors
    from partsight.runtime.cluster.ray_session import ray_session

    with ray_session(ray_address(address)):
        yield RayMap(plan_actors("cpu"))
