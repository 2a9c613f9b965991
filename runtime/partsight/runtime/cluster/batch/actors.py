"""Actors: how many the machines of a Ray session have room for, and what each takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partsight.runtime.core import RemoteError, import_extra

CARDS = frozenset({"cuda", "tensorrt"})
"""Providers whose actors each take a card."""

MAX_THREADS = 2
"""Most cores of an actor by default: another actor brings more than more threads, and takes 0.7 GB of memory."""

MAX_READERS = 16
"""Most cores of an actor with a card by default: they read and compare the frames."""


@dataclass(frozen=True)
class ActorPlan:
    """Actors that work at the same time.

    Attributes:
        actors: Number of actors.
        cpus: Cores that each takes, and threads that it uses.
        gpus: Cards that each takes.
    """

    actors: int
    cpus: int
    gpus: int = 0


def plan_actors(provider: str, threads: int | None = None, actors: int | None = None) -> ActorPlan:
    """Return a plan that uses all cores, or all cards, of a Ray session.

    Args:
        provider: Provider of the network, as for `Recognizer`.
        threads: Cores of each actor; None for `MAX_THREADS`, and with a card for `MAX_READERS`; fewer if the smallest
            machine has fewer.
        actors: Number of actors; None for as many as there is room for.

    Raises:
        RemoteError: The session has no machine with the cores or the card.
    """
    ray = import_extra("ray", "ray")
    gpus = int(provider in CARDS)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    usable = [machine for machine in machines if not gpus or machine.get("GPU", 0) >= 1]
    shares = (machine.get("CPU", 0) // (machine["GPU"] if gpus else 1) for machine in usable)
    most = MAX_READERS if gpus else MAX_THREADS
    cpus = threads or int(min([most, *(share for share in shares if share >= 1)]))
    room = sum(_room(machine, cpus, gpus) for machine in machines)
    if room < 1:
        raise RemoteError(
            f"no machine of the Ray session has {cpus} CPUs{' and a GPU' if gpus else ''}: its machines have "
            f"{_listed(machines)}; run with fewer --threads, or start Ray with more: `ray start --num-cpus N`"
        )
    return ActorPlan(min(actors or room, room), cpus, gpus)


def _room(machine: Mapping[str, Any], cpus: int, gpus: int) -> int:
    by_cpu = int(machine.get("CPU", 0)) // cpus
    return min(by_cpu, int(machine.get("GPU", 0))) if gpus else by_cpu


def _listed(machines: Sequence[Mapping[str, Any]]) -> str:
    each = (f"{machine.get('CPU', 0):g} CPUs and {machine.get('GPU', 0):g} GPUs" for machine in machines)
    return "; ".join(each) or "none"
