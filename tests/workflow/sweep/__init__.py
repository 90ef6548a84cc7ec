"""Every fault at every state: the scenarios, the faults, how a case is run and judged, and the page.

The functions are imported as Lambda imports them, from their folder, also where no pytest has said so.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / "functions") not in sys.path:
    sys.path.insert(0, str(ROOT / "functions"))
