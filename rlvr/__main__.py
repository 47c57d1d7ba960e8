"""`python -m rlvr SUBCOMMAND` is `rlvr SUBCOMMAND`."""

import sys

from rlvr.cli.main import main

sys.exit(main())
