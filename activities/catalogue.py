"""The catalogue: every action that this installation offers, built in or added by another package."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from activities.action import Action, AnyAction
from activities.ansible.action import AnsiblePlaybook
from activities.core import Echo, Fail, SetVariables, Sleep
from activities.errors import CatalogueError
from activities.hosts.command import SshCommand
from activities.hosts.firewall import FirewallBlock
from activities.hosts.patch import PackagePatch
from activities.hosts.service import ServiceRestart
from activities.hosts.upload import SshUpload
from activities.http_request import HttpRequest
from activities.know.assets import AssetLookup
from activities.know.dns import DnsResolve
from activities.know.enrich import FindingEnrich
from activities.know.rdap import RdapLookup
from activities.know.severity import FindingSeverity
from activities.policies.compare import PolicyCompare
from activities.reports.action import ReportRender
from activities.scans.host import HostScan
from activities.scans.importing import ScanImport
from activities.scans.ports import PortScan
from activities.script import ScriptRun
from activities.slack import SlackMessage
from activities.tell.mail import EmailSend
from activities.tell.notify import Notify
from activities.tickets.actions import TicketClose, TicketComment, TicketCreate
from playbooks.actions import Catalogue

ENTRY_POINT_GROUP = "stanchion.actions"
RESERVED_FAMILY = "stanchion."
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

SHOWN_OF_REASON = 500

log = logging.getLogger(__name__)

BUILT_IN: tuple[type[AnyAction], ...] = (
    *(Echo, Fail, SetVariables, Sleep),
    *(HttpRequest, ScriptRun, SlackMessage),
    *(AssetLookup, DnsResolve, RdapLookup),
    *(FindingEnrich, FindingSeverity),
    *(SshCommand, SshUpload, PackagePatch, ServiceRestart, FirewallBlock),
    *(AnsiblePlaybook,),
    *(ReportRender,),
    *(PortScan, ScanImport, HostScan),
    *(PolicyCompare,),
    *(Notify, EmailSend, TicketCreate, TicketComment, TicketClose),
)
"""The shipped actions, a family a line."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A plug-in that cannot be used: the name of its entry point, and why."""

    plug_in: str
    reason: str


class ActionCatalogue(Mapping[str, AnyAction]):
    """Actions by name, and the plug-ins ``left_out``.  Raises ``CatalogueError`` when an action breaks a rule."""

    def __init__(self, actions: Iterable[AnyAction], left_out: Sequence[LeftOut] = ()) -> None:
        self.left_out = tuple(left_out)
        self._actions: dict[str, AnyAction] = {}
        for action in actions:
            check_action(action)
            if action.name in self._actions:
                raise CatalogueError(f"{action.name}: two actions have this name")
            self._actions[action.name] = action

    def __getitem__(self, name: str) -> AnyAction:
        return self._actions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    def specs(self) -> Catalogue:
        """What the API serves and the compiler checks against, by name."""
        return {name: action.spec() for name, action in self._actions.items()}


def load_catalogue() -> ActionCatalogue:
    """The built-in actions and those of the entry point group ``stanchion.actions``, in the order of their names.

    A plug-in that cannot be used is named in an error of the log and in ``left_out``: one that cannot be imported,
    that fails when it is made, that breaks a rule, or whose name is taken.  The others and the worker go on, and a
    playbook that uses its action is refused.  Raises ``CatalogueError`` when a built-in action breaks a rule.
    """
    for kind in BUILT_IN:
        check_documented(kind)
    actions = {action.name: action for action in ActionCatalogue(kind() for kind in BUILT_IN).values()}
    left_out = []
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            plug_in = _load_plug_in(entry_point, taken=actions)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:SHOWN_OF_REASON]
            log.error("The plug-in %s was left out: %s", entry_point.name, reason)
            left_out.append(LeftOut(entry_point.name, reason))
        else:
            actions[plug_in.name] = plug_in
    return ActionCatalogue((actions[name] for name in sorted(actions)), left_out)


def check_action(action: AnyAction) -> None:
    """Raise ``CatalogueError`` when ``action`` breaks a rule of the catalogue."""
    kind = type(action)
    label = getattr(action, "name", None) or kind.__qualname__
    for attribute in ("name", "title", "Input", "Output"):
        if not getattr(action, attribute, None):
            raise CatalogueError(f"{label}: the action has no {attribute}")
    if not _NAME.fullmatch(action.name):
        raise CatalogueError(f"{label}: an action's name is family.verb, in lower case")
    if action.name.startswith(RESERVED_FAMILY):
        raise CatalogueError(f"{label}: the family {RESERVED_FAMILY!r} is reserved")
    if not action.safe and not kind.has_rehearsal():
        raise CatalogueError(f"{label}: an action that is not safe must define rehearse()")
    if not action.safe and action.rehearsal == Action.rehearsal:
        raise CatalogueError(f"{label}: an action that is not safe must say in `rehearsal` what its dry run does")


def check_documented(kind: type[AnyAction]) -> None:
    """Raise ``CatalogueError`` unless the built-in action ``kind`` has what its page in ``docs/actions/`` needs."""
    if kind.errors is Action.errors:
        raise CatalogueError(f"{kind.name}: a built-in action says in `errors` what its codes mean")
    if not kind.example:
        raise CatalogueError(f"{kind.name}: a built-in action has an `example`")


def _load_plug_in(entry_point: EntryPoint, taken: Mapping[str, AnyAction]) -> AnyAction:
    """The action of ``entry_point``.  Raises whatever makes it unusable."""
    loaded = entry_point.load()
    if not (isinstance(loaded, type) and issubclass(loaded, Action)):
        raise TypeError(f"{entry_point.value} is no subclass of activities.action.Action")
    action: AnyAction = loaded()
    check_action(action)
    action.spec()
    if action.name in taken:
        raise CatalogueError(f"{action.name}: two actions have this name")
    return action
