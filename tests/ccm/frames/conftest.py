"""Let the tests of this folder import the miniature data sets that lie beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
