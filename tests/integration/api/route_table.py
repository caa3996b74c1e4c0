"""Who may use which route: the table that the routes are held to.  A route that is not here fails the tests."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Mount, Route

PUBLIC: frozenset[str] = frozenset()
"""No token is asked for."""

RUN = frozenset({"playbook:execute"})
READ_RUNS = frozenset({"playbook:read", "playbook:execute"})
READ = frozenset({"playbook:read"})
WRITE = frozenset({"playbook:write"})
READ_ASSETS = frozenset({"asset:read"})
WRITE_ASSETS = frozenset({"asset:write"})
ANY = frozenset({"playbook:read", "playbook:execute", "asset:read", "audit:read"})
"""What somebody has who uses the Phantom interface at all."""

NATIVE: dict[frozenset[str], str] = {
    PUBLIC: """
        GET /healthz
        GET /readyz
        GET /metrics
        GET /docs
        GET /openapi.json
        POST /api/hooks/{token}
        POST /api/codec/with/{token}/{operation}
    """,
    RUN: """
        POST /api/playbooks/{playbook_id}/run
        POST /api/playbooks/executions/{execution_id}/rerun
        POST /api/playbooks/executions/{execution_id}/cancel
        POST /api/playbooks/executions/{execution_id}/steps/{action_id}/approve
        POST /api/playbooks/executions/{execution_id}/steps/{action_id}/reject
    """,
    READ_RUNS: """
        GET /api/playbooks/executions
        GET /api/playbooks/{playbook_id}/executions
        GET /api/playbooks/executions/{execution_id}
        GET /api/playbooks/executions/{execution_id}/events
        GET /api/playbooks/executions/{execution_id}/compare/{other}
        GET /api/playbooks/executions/{execution_id}/artifacts
        GET /api/playbooks/executions/{execution_id}/artifacts/{name}
    """,
    READ: """
        GET /api/playbooks
        GET /api/playbooks/{playbook_id}
        GET /api/playbooks/{playbook_id}/revisions
        GET /api/playbooks/{playbook_id}/revisions/{number}
        GET /api/playbooks/{playbook_id}/schedule
        GET /api/playbooks/{playbook_id}/hooks
        GET /api/actions
        GET /api/actions/{name}
        GET /api/schemas/playbook.json
    """,
    WRITE: """
        POST /api/playbooks
        POST /api/playbooks/validate
        PUT /api/playbooks/{playbook_id}
        DELETE /api/playbooks/{playbook_id}
        POST /api/playbooks/{playbook_id}/hooks
        DELETE /api/playbooks/{playbook_id}/hooks/{hook_id}
    """,
    READ_ASSETS: """
        GET /api/assets
        GET /api/assets/{asset_id}
    """,
    WRITE_ASSETS: """
        POST /api/assets
        PUT /api/assets/{asset_id}
        DELETE /api/assets/{asset_id}
    """,
    frozenset({"host:read"}): "GET /api/host-keys",
    frozenset({"host:write"}): """
        POST /api/host-keys
        DELETE /api/host-keys/{key_id}
    """,
    frozenset({"secret:write"}): """
        GET /api/secrets
        PUT /api/secrets/{name}
        DELETE /api/secrets/{name}
    """,
    frozenset({"token:admin"}): """
        POST /api/tokens
        GET /api/tokens
        DELETE /api/tokens/{token_id}
        POST /api/users
        GET /api/users
        DELETE /api/users/{user_id}
    """,
    frozenset({"audit:read"}): "GET /api/audit",
    frozenset({"payload:decode"}): "POST /api/codec/{operation}",
}

PHANTOM: dict[frozenset[str], str] = {
    RUN: """
        POST /rest/playbook_run
        POST /rest/playbook_run/{number}
        POST /rest/approval/{number}
    """,
    READ_RUNS: """
        GET /rest/playbook_run
        GET /rest/playbook_run/{number}
        GET /rest/playbook_run/{number}/actions
        GET /rest/playbook_run/{number}/log
        GET /rest/playbook_run/{number}/{field}
        GET /rest/action_run
        GET /rest/action_run/{number}
        GET /rest/action_run/{number}/app_runs
        GET /rest/action_run/{number}/{field}
        GET /rest/app_run
        GET /rest/app_run/{number}
        GET /rest/app_run/{number}/{field}
        GET /rest/container/{number}/actions
        GET /rest/container/{number}/playbook_runs
        GET /rest/container/{number}/approvals
        GET /rest/approval
        GET /rest/approval/{number}
        GET /rest/playbook
        GET /rest/playbook/{number}
        GET /rest/playbook/{number}/{field}
    """,
    WRITE: """
        POST /rest/playbook/{number}
        POST /rest/playbooks
    """,
    READ_ASSETS: """
        GET /rest/container
        GET /rest/container/{number}
        GET /rest/container/{number}/artifacts
        GET /rest/container/{number}/notes
        GET /rest/container/{number}/comments
        GET /rest/container/{number}/pins
        GET /rest/container/{number}/audit
        GET /rest/container/{number}/attachments
        GET /rest/container/{number}/phases
        GET /rest/container/{number}/{field}
        GET /rest/artifact
        GET /rest/artifact/{number}
        GET /rest/artifact/{number}/{field}
        GET /rest/note
        GET /rest/note/{number}
        GET /rest/note/{number}/{field}
        GET /rest/container_note
        GET /rest/container_note/{number}
        GET /rest/container_comment
        GET /rest/container_comment/{number}
        GET /rest/container_pin
        GET /rest/container_pin/{number}
        GET /rest/search
    """,
    WRITE_ASSETS: """
        POST /rest/container
        POST /rest/container/{number}
        POST /rest/container/{number}/notes
        POST /rest/artifact
        POST /rest/artifact/{number}
        POST /rest/note
        POST /rest/container_note
        POST /rest/container_note/{number}
        DELETE /rest/container_note/{number}
        POST /rest/note/{number}
        POST /rest/container_comment
        POST /rest/container_pin
        DELETE /rest/container
        DELETE /rest/container/{number}
        DELETE /rest/artifact
        DELETE /rest/artifact/{number}
        DELETE /rest/note/{number}
        DELETE /rest/container_pin/{number}
    """,
    frozenset({"audit:read"}): "GET /rest/audit",
    ANY: """
        GET /rest/version
        GET /rest/system_info
        GET /rest/system_settings
        GET /rest/health
        GET /rest/license
        GET /rest/ph_user
        GET /rest/ph_user/{number}
        GET /rest/user_settings
        GET /rest/user_info
        GET /rest/container_options
        GET /rest/container_options/{field}
        GET /rest/severity
        GET /rest/severity/{number}
        GET /rest/container_status
        GET /rest/container_status/{number}
        GET /rest/label
        GET /rest/label/{number}
        GET /rest/app
        GET /rest/app/{number}
        GET /rest/scm
        GET /rest/scm/{number}
        GET /rest/cluster_node
        GET /rest/cluster_node/{number}
        GET /rest/tenant
        GET /rest/tenant/{number}
        GET /rest/role
        GET /rest/role/{number}
        GET /rest/cef_metadata
        GET /rest/cef
        GET /rest/cef/{number}
        GET /rest/asset
        GET /rest/asset/{number}
        GET /rest/custom_function
        GET /rest/custom_function/{number}
        GET /rest/decided_list
        GET /rest/decided_list/{number}
        GET /rest/container_attachment
        GET /rest/container_attachment/{number}
        GET /rest/evidence
        GET /rest/evidence/{number}
        GET /rest/indicator
        GET /rest/indicator/{number}
        GET /rest/vault_document
        GET /rest/vault_document/{number}
        GET /rest/workbook_phase
        GET /rest/workbook_phase/{number}
        GET /rest/workbook_phase_template
        GET /rest/workbook_phase_template/{number}
        GET /rest/workbook_task
        GET /rest/workbook_task/{number}
        GET /rest/workbook_task_template
        GET /rest/workbook_task_template/{number}
        GET /rest/workbook_template
        GET /rest/workbook_template/{number}
    """,
}


def table() -> dict[str, frozenset[str]]:
    """``METHOD path`` → the permissions of which one is needed; none for what is public."""
    rows: dict[str, frozenset[str]] = {}
    for part in (NATIVE, PHANTOM):
        for permissions, routes in part.items():
            for line in filter(None, map(str.strip, routes.splitlines())):
                assert line not in rows, f"{line} stands there twice"
                rows[line] = permissions
    return rows


def routes_of(app: FastAPI) -> list[str]:
    """Every ``METHOD path`` that the application answers to programs, the mounted interface too."""
    return [
        f"{method} {path.replace(':playbook}', '}')}"
        for route, path in _routes(app.router.routes, "")
        for method in sorted(route.methods or ())
        if method != "HEAD"  # as GET
        if not is_console(route)
    ]


def is_console(route: Route) -> bool:
    """Whether it is a page, which asks for a session and goes through these routes; see test_console.py."""
    return route.endpoint.__module__.startswith("api.console.")


def _routes(routes: object, prefix: str) -> list[tuple[Route, str]]:
    found: list[tuple[Route, str]] = []
    for route in routes:  # type: ignore[attr-defined]
        if isinstance(route, Mount):
            found += _routes(route.app.app.routes, prefix + route.path)  # type: ignore[attr-defined]
        else:
            assert isinstance(route, Route), f"{route!r} is of a kind that this test does not know"
            found.append((route, prefix + route.path))
    return found
