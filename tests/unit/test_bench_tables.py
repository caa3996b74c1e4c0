"""What `make bench` writes as JSON is what the benchmarks print."""

from __future__ import annotations

from bench.everything import tables

PRINTED = """10,000 runs in 60 s
| a run of | worker | API |
| --- | --- | --- |
| floor | 42.0 | 27.4 |
| process | MB |
| --- | --- |
| worker | 89 |
| api | 87 |

| what | ratio |
| :-- | --: |
| POST | 1.2 |
"""


def test_each_table_has_its_own_headers() -> None:
    """Also one that follows another at once."""
    assert tables(PRINTED.splitlines()) == [
        [{"a run of": "floor", "worker": "42.0", "API": "27.4"}],
        [{"process": "worker", "MB": "89"}, {"process": "api", "MB": "87"}],
        [{"what": "POST", "ratio": "1.2"}],
    ]


def test_a_benchmark_may_print_no_table() -> None:
    """Its lines are shown, and nothing is kept of them."""
    assert tables(["at rest: 160 MB"]) == []
