"""Names of playbooks and assets beside their ids, as far as the visitor may see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from api.console.sessions import Visitor
from api.services import Services
from playbooks.record import Json
from storage import assets, playbooks

READS_EXECUTIONS = ("playbook:read", "playbook:execute")


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id; an id whose name is not known stands for itself."""

    playbooks: dict[str, str] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)

    def playbook(self, playbook_id: str) -> str:
        """The name of a playbook, also of a deleted one."""
        return self.playbooks.get(playbook_id, playbook_id)

    def asset(self, asset_id: str) -> str:
        """The name of an asset."""
        return self.assets.get(asset_id, asset_id)


async def names_of(services: Services, visitor: Visitor, executions: Iterable[Json]) -> Names:
    """The names that stand in a list of executions."""
    listed = list(executions)
    wanted_playbooks = {one["playbook_id"] for one in listed if visitor.may(*READS_EXECUTIONS)}
    wanted_assets = {one["target_asset_id"] for one in listed if visitor.may("asset:read", *READS_EXECUTIONS)}
    return await services.database.read(_read, sorted(wanted_playbooks), sorted(wanted_assets))


def _read(connection: Connection, playbook_ids: list[str], asset_ids: list[str]) -> Names:
    names = Names()
    for playbook_id in playbook_ids:
        playbook = playbooks.get(connection, playbook_id, include_deleted=True)
        if playbook is not None:
            names.playbooks[playbook_id] = playbook.name
    for asset_id in asset_ids:
        asset = assets.get(connection, asset_id)
        if asset is not None:
            names.assets[asset_id] = asset.name
    return names
