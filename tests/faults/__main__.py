"""`python -m tests.faults`: every fault at every file operation of every job; docs/faults.md."""

import sys

from tests.faults.command import main
from tests.faults.jobs import JOBS

if __name__ == "__main__":
    sys.exit(main(JOBS, "tests.faults"))
