"""The command `stanchion`."""
