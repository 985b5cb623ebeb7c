"""Let the tests of this folder share `records`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
