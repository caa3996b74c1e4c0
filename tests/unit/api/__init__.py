"""The parts of the interface that need no server."""
