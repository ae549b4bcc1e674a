"""``python -m tachograph`` is the command line."""

import sys

from tachograph.cli import main

sys.exit(main())
