"""Paths of the checkout."""

import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
