"""One class for each step type."""
