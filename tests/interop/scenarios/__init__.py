"""The scenarios. pytest rewrites their assertions, as it does in test modules."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{each.stem}" for each in Path(__file__).parent.glob("*.py")))
