"""``python -m dqroute.sweep GRID.yaml``: see :mod:`dqroute.sweep.sweep`."""

import sys

from dqroute.sweep.sweep import main

sys.exit(main())
