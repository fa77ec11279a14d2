"""Start the spawner: `python -I -S -X utf8 PATH/_spawner FD`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _spawner.serve import serve  # type: ignore[import-not-found]

sys.path.pop(0)
serve(int(sys.argv[1]))
