"""docs/failures.md says what the tests of the failure matrix hold."""

from __future__ import annotations

from scripts.failures_page import PAGE, page
from tests.failures.expected import OTHERWISE, USUAL
from tests.failures.moments import MOMENTS
from tests.failures.strikes import STRIKES


def test_the_page_is_what_the_tests_say() -> None:
    """After a change: python -m scripts.failures_page."""
    assert page() == PAGE.read_text()


def test_every_exception_is_of_a_row_and_a_moment() -> None:
    """A misspelt name would hold nothing."""
    assert set(OTHERWISE) <= {strike.name for strike in STRIKES}
    assert {name for cells in OTHERWISE.values() for name in cells} <= {moment.name for moment in MOMENTS} == set(USUAL)
