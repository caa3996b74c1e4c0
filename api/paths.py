"""Ids in paths.

``/api/playbooks/executions`` and ``/api/playbooks/validate`` are no playbooks, whatever the method: so a path's
playbook is matched by a convertor that leaves these words out, and no playbook can have one as its id or slug.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path
from starlette.convertors import Convertor, register_url_convertor

RESERVED: Final = frozenset({"executions", "validate"})

PLAYBOOK_PATH: Final = "/api/playbooks/{playbook_id:playbook}"
"""Path of one playbook."""

_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

PlaybookId = Annotated[str, Path(pattern=_ID, description="Id or slug of the playbook.")]
RevisionNumber = Annotated[int, Path(ge=1, le=2_147_483_647, description="Number of the revision, from 1.")]


class PlaybookConvertor(Convertor[str]):
    """One segment of a path that can be a playbook's id."""

    regex = rf"(?!(?:{'|'.join(sorted(RESERVED))})(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        """The segment as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The id as a segment."""
        return value


register_url_convertor("playbook", PlaybookConvertor())
