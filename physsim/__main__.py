"""``python -m physsim`` is the command ``physsim``."""

import sys

from physsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
