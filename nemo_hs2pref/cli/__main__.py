"""`python -m nemo_hs2pref.cli`: the same as the `hs2pref` command."""

import sys

from nemo_hs2pref.cli import main

if __name__ == "__main__":
    sys.exit(main())
