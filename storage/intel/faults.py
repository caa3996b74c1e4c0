"""What is wrong with a file of intelligence, and where in it."""

from __future__ import annotations

from storage.errors import StorageError


class IntelFault(StorageError):
    """A file cannot be taken.  ``place`` is where in it: ``line 17``, ``vulnerabilities[3].cve.id``, or nothing."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.message = message
