"""What can go wrong in the storage, as a tree::

StorageError
├── DatabaseUnavailable   try again later: locked, not reachable, disk full, shutting down
├── SchemaMismatch        the database was made by a newer version of the program
├── NotFound              no row of that kind with that id
├── Taken                 an id or a slug is in use
└── NotKept               an artifact of a run that is over, or one too many
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of every error that the storage raises on purpose."""


class DatabaseUnavailable(StorageError):
    """The database cannot serve now.  ``detail`` is a sentence for an operator, without credentials."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class SchemaMismatch(StorageError):
    """The database holds a schema that this version does not know."""


class NotFound(StorageError):
    """There is no ``kind`` with the id ``key``."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key!r} not found")
        self.kind = kind
        self.key = key


class Taken(StorageError):
    """The value of ``field`` (``id``, ``slug``) belongs to another row."""

    def __init__(self, field: str) -> None:
        super().__init__(f"this {field} is taken")
        self.field = field


class NotKept(StorageError):
    """An artifact is not taken; the message is a sentence that says why."""
