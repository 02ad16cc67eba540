"""The scenarios. pytest rewrites their assertions, as it does in test modules."""

import pytest

pytest.register_assert_rewrite(
    f"{__name__}.errors", f"{__name__}.history", f"{__name__}.jobs", f"{__name__}.output"
)
