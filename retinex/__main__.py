"""`python -m retinex`: the same as the command `retinex`."""

import sys

from retinex.command_line import main

sys.exit(main())
