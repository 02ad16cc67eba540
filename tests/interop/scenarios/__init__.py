"""What is played. The assertions show their values, as those in tests do."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.jobs", f"{__name__}.output", f"{__name__}.refusals")
