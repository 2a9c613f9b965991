"""Work that outgrows one machine: archives of frames recognised again, and loops of other rooms, by Ray Data.

`batch` lists the frames (`sources`, `frames`), lets the `engine` answer them on actors (`recognition`), keeps finished
chunks (`work_folder`), and writes the results and, with a second package, `comparison` and `report`.
"""

from partsight.runtime.cluster.batch.actors import ActorPlan, plan_actors
from partsight.runtime.cluster.batch.batch import BatchDone, BatchRequest, recognize_archive
from partsight.runtime.cluster.batch.comparison import Comparison, PartChanges
from partsight.runtime.cluster.batch.engine import Finished, RayMap, work_on
from partsight.runtime.cluster.batch.results_file import Counts

__all__ = [
    "ActorPlan",
    "BatchDone",
    "BatchRequest",
    "Comparison",
    "Counts",
    "Finished",
    "PartChanges",
    "RayMap",
    "plan_actors",
    "recognize_archive",
    "work_on",
]
