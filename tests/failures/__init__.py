"""The failure matrix: what dies (strikes) in which moment of a run, and what a client sees (docs/failures.md)."""
