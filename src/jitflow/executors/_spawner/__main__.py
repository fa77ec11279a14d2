"""Start the spawner: `python -I -S -X utf8 PATH/_spawner CONNECTION_FD NOTIFY_FD KIND STAGE GUARDED`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from _spawner.serve import serve  # type: ignore[import-not-found]

sys.path.pop(0)
serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], guarded=sys.argv[5] == "guarded")
