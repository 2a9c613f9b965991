"""Ray of a test's own: small, on this machine alone, and gone at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from partsight.runtime.cluster.ray_session import ray_session


@contextmanager
def local_ray(cpus: int = 4) -> Iterator[str]:
    """Run a small Ray until the end of the block, and yield its address.

    Several test processes may do so at once: each has its own Ray, with ports of its own.

    Args:
        cpus: Number of CPUs for Ray's scheduler; more than the machine has are fine for small work.
    """
    with ray_session(cpus=cpus, gpus=0) as address:
        yield address
