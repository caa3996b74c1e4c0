"""The examples of the guide *Run playbook*, letter by letter; the tests beside this module hold us to them."""

from __future__ import annotations

from typing import Any, Final

PLAYBOOK: Final = "pb-11223344-5566-7788-99aa-bbccddeeff00"
ASSET: Final = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
EXECUTION: Final = "exec-aabb1122-3344-5566-7788-99aabbccddee"
HOST: Final = "https://api.s4e.io"
TOKEN_VARIABLE: Final = "S4E_API_TOKEN"

PARAMETERS_OBJECT: Final = """\
{
"target_asset_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
"parameters": {
"notify_channel": "#incident-response",
"patch_version": "2.4.1",
"rollback_enabled": true
},
"dry_run": false
}"""
"""*Parameters Object*: the body of a request."""

RESPONSE: Final[dict[str, Any]] = {
    "execution_id": "exec-aabb1122-3344-5566-7788-99aabbccddee",
    "playbook_id": "pb-11223344-5566-7788-99aa-bbccddeeff00",
    "status": "pending",
    "dry_run": False,
    "created_at": "2026-04-28T11:00:00Z",
    "steps": [
        {"index": 0, "action_id": "act-001", "name": "Enrich finding", "status": "pending"},
        {"index": 1, "action_id": "act-002", "name": "Notify Slack", "status": "pending"},
        {"index": 2, "action_id": "act-003", "name": "Apply remediation", "status": "pending"},
        {"index": 3, "action_id": "act-004", "name": "Verify fix", "status": "pending"},
    ],
}
"""*Response Format*: the body of the 202."""

STATUS: Final[dict[str, Any]] = {
    "execution_id": "exec-aabb1122-3344-5566-7788-99aabbccddee",
    "playbook_id": "pb-11223344-5566-7788-99aa-bbccddeeff00",
    "status": "running",
    "started_at": "2026-04-28T11:00:05Z",
    "steps": [
        {"index": 0, "name": "Enrich finding", "status": "completed", "duration_ms": 1200},
        {"index": 1, "name": "Notify Slack", "status": "completed", "duration_ms": 340},
        {"index": 2, "name": "Apply remediation", "status": "running", "duration_ms": None},
        {"index": 3, "name": "Verify fix", "status": "pending", "duration_ms": None},
    ],
}
"""*Status Response Example*."""

STATES: Final = ("pending", "running", "completed", "failed", "skipped", "cancelled")
"""*Execution States*, in the order of the table."""

CURL_RUN: Final = """\
curl -X POST "https://api.s4e.io/api/playbooks/pb-11223344-5566-7788-99aa-bbccddeeff00/run" \\
-H "Authorization: Bearer $S4E_API_TOKEN" \\
-H "Content-Type: application/json" \\
-d '{
"target_asset_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
"parameters": {
"notify_channel": "#incident-response",
"auto_assign": true
},
"dry_run": true
}'
"""
"""*Example*: execute the playbook."""

CURL_MONITOR: Final = """\
curl -s "https://api.s4e.io/api/playbooks/executions/exec-aabb1122-3344-5566-7788-99aabbccddee" \\
-H "Authorization: Bearer $S4E_API_TOKEN" | python3 -m json.tool
"""
"""*Example*: monitor execution."""
