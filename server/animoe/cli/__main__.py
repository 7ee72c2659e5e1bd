"""`python -m animoe.cli`, for where the console script is not on the path."""

import sys

from animoe.cli.main import main

sys.exit(main())
