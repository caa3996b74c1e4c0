"""An artifact of an execution as the interface shows it."""

from __future__ import annotations

from typing import Any

from api.times import iso
from storage.artifacts import ArtifactRow


def artifact_json(row: ArtifactRow) -> dict[str, Any]:
    """The artifact without its content; ``url`` is a path of this API, as safe names need no escaping."""
    return {
        "name": row.name,
        "media_type": row.media_type,
        "size": row.size,
        "sha256": row.sha256,
        "step": row.step,
        "created_at": iso(row.created_at),
        "url": f"/api/playbooks/executions/{row.execution_id}/artifacts/{row.name}",
    }
