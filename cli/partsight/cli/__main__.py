"""`python -m partsight.cli`, where the `partsight` command is not on the path."""

import sys

from partsight.cli.main import main

sys.exit(main())
