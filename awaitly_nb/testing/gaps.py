"""What a suite lets its user declare: tests that are known to fail, each with its reason."""

from __future__ import annotations

from typing import ClassVar

import pytest

__all__ = ["Gaps"]


class Gaps:
    """Base of a suite whose known gaps are declared, and then have to show themselves.

    Attributes
    ----------
    gaps
        Names of tests that are known to fail, each with the reason.
    """

    gaps: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _declare_gap(self, request: pytest.FixtureRequest) -> None:
        if (reason := self.gaps.get(request.node.originalname)) is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
