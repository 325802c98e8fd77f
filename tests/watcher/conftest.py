"""The token server of the OAuth tests stands beside."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "oauth")]
