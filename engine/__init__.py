"""The way to Temporal: connection, starts, status reads, the embedded server."""
