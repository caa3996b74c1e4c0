"""GitHub, GitLab and Jira as far as tickets go: real HTTP servers that keep issues and answer as the services do.

Their searches know only what ``index`` has seen, as those of the services lag behind.  ``faults`` make one request end
as networks and services do: done, but its answer lost; done, and no answer for ever; refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

TOKEN = "t0ken-of-the-tracker"
READ_TOKEN = "t0ken-that-only-reads"


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """One answer."""

    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass
class Fault:
    """What becomes of the next request that fits: ``lost`` and ``hang`` after it was done, a reply in its place."""

    method: str
    path: str
    deed: Literal["lost", "hang"] | Reply


@dataclass
class TicketSite:
    """A service; subclasses say how it answers."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    indexed: int = 0
    """The search knows that many issues."""
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    """What may read and write."""

    service = ""
    project = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> dict[str, Any]:
        """The parameters of a step that works on this service."""
        return {"service": self.service, "url": self.url, "project": self.project, "token": TOKEN}

    def index(self) -> None:
        """Lets the search know all there is."""
        self.indexed = len(self.issues)

    def changes(self) -> list[str]:
        """The requests that change something."""
        searches = ("/search", "/search/jql")
        return [
            f"{one.method} {one.path}" for one in self.asked if one.method != "GET" and not one.path.endswith(searches)
        ]

    def answer(self, asked: Asked) -> Reply:
        """The answer of the service."""
        raise NotImplementedError

    def fill(self, count: int) -> None:
        """Opens that many tickets of somebody else."""
        raise NotImplementedError

    def token_of(self, asked: Asked) -> str:
        """The token that came."""
        return asked.headers.get("authorization", "").removeprefix("Bearer ")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = await _read(reader)
            self.asked.append(asked)
            fault = next(
                (one for one in self.faults if one.method == asked.method and re.search(one.path, asked.path)), None
            )
            if fault is not None:
                self.faults.remove(fault)
            reply = fault.deed if fault is not None and isinstance(fault.deed, Reply) else self._judged(asked)
            if fault is not None and fault.deed == "hang":
                self.hanging.set()
                await reader.read()
            elif fault is None or fault.deed != "lost":
                writer.write(_written(reply))
                await writer.drain()
        writer.transport.abort() if writer.transport.is_closing() else writer.close()

    def _judged(self, asked: Asked) -> Reply:
        token = self.token_of(asked)
        if token not in {*self.tokens, READ_TOKEN}:
            return Reply(401, {"message": "Bad credentials"})
        if token == READ_TOKEN and asked.method != "GET" and "/search" not in asked.path:
            return Reply(403, {"message": "Resource not accessible by personal access token"})
        return self.answer(asked)

    def page(self, asked: Asked, items: list[Any]) -> Reply:
        """One page of ``items`` with its Link header, as GitHub and GitLab have it."""
        size = int(asked.query.get("per_page", 30))
        number = int(asked.query.get("page", 1))
        last = max(1, -(-len(items) // size))
        links = {}
        if number < last:
            links = {"next": number + 1, "last": last}
        if number > 1:
            links |= {"prev": number - 1, "first": 1}
        header = ", ".join(
            f'<{self.url}{asked.path}?{urlencode({**asked.query, "page": target})}>; rel="{relation}"'
            for relation, target in links.items()
        )
        return Reply(200, items[(number - 1) * size : number * size], {"Link": header} if header else {})


class GitHubSite(TicketSite):
    """One repository, ``acme/web``."""

    service, project = "github", "acme/web"

    def fill(self, count: int) -> None:
        for _ in range(count):
            self._open({"title": "Other", "body": "Something else"})

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/search/issues":
            return self._search(asked)
        found = re.fullmatch(r"/repos/acme/web/issues(?:/(\d+)(/comments)?)?", asked.path)
        if found is None:
            return Reply(
                404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}
            )
        number, comments = found[1], found[2]
        if number is None:
            if asked.method == "GET":
                return self.page(asked, list(reversed(self.issues)))
            if not asked.body.get("title"):
                return Reply(422, {"message": "Validation Failed", "errors": [{"field": "title"}]})
            return Reply(201, self._open(asked.body))
        issue = next((one for one in self.issues if one["number"] == int(number)), None)
        if issue is None:
            return Reply(404, {"message": "Not Found", "status": "404"})
        if comments:
            kept = self.comments.setdefault(number, [])
            if asked.method == "GET":
                return self.page(asked, kept)
            made = {"id": 9000 + len(kept), "body": asked.body["body"]}
            made["html_url"] = f"https://github.com/acme/web/issues/{number}#issuecomment-{made['id']}"
            kept.append(made)
            return Reply(201, made)
        if asked.method == "PATCH":
            issue |= {name: asked.body[name] for name in ("state", "state_reason") if name in asked.body}
        return Reply(200, issue)

    def _search(self, asked: Asked) -> Reply:
        word = asked.query["q"].split(" ")[0]
        items = [one for one in self.issues[: self.indexed] if word in (one["body"] or "")]
        return Reply(200, {"total_count": len(items), "incomplete_results": False, "items": items})

    def _open(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.issues) + 1
        issue = {**body, "number": number, "state": "open", "html_url": f"https://github.com/acme/web/issues/{number}"}
        self.issues.append(issue)
        return issue


class GitLabSite(TicketSite):
    """One project, ``acme/sec/web``."""

    service, project = "gitlab", "acme/sec/web"

    def fill(self, count: int) -> None:
        for _ in range(count):
            self._open({"title": "Other", "description": "Something else"})

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/api/v4/users":
            known = {"ada": [{"id": 42, "username": "ada"}]}
            return Reply(200, known.get(asked.query["username"], []))
        found = re.fullmatch(r"/api/v4/projects/acme%2Fsec%2Fweb/issues(?:/(\d+)(/notes)?)?", asked.path)
        if found is None:
            return Reply(404, {"message": "404 Project Not Found"})
        number, notes = found[1], found[2]
        if number is None:
            if asked.method == "GET":
                return self._list(asked)
            if not asked.body.get("title"):
                return Reply(400, {"message": {"title": ["can't be blank"]}})
            return Reply(201, self._open(asked.body))
        issue = next((one for one in self.issues if one["iid"] == int(number)), None)
        if issue is None:
            return Reply(404, {"message": "404 Issue Not Found"})
        if notes:
            kept = self.comments.setdefault(number, [])
            if asked.method == "GET":
                return self.page(asked, list(reversed(kept)) if asked.query.get("sort") == "desc" else kept)
            if re.search(r"(?m)^/\w", asked.body["body"]):
                issue["state"] = "closed"  # a quick action, obeyed
            kept.append({"id": 7000 + len(kept), "body": asked.body["body"]})
            return Reply(201, kept[-1])
        if asked.method == "PUT" and asked.body.get("state_event") == "close":
            issue["state"] = "closed"
        return Reply(200, issue)

    def _list(self, asked: Asked) -> Reply:
        if "search" in asked.query:
            word = asked.query["search"]
            return self.page(asked, [one for one in self.issues[: self.indexed] if word in (one["description"] or "")])
        return self.page(asked, list(reversed(self.issues)))

    def _open(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.issues) + 1
        issue = {**body, "id": 100_000 + number, "iid": number, "state": "opened"}
        if re.search(r"(?m)^/\w", str(body.get("description"))):
            issue["state"] = "closed"
        issue["web_url"] = f"https://gitlab.com/acme/sec/web/-/issues/{number}"
        self.issues.append(issue)
        return issue


NEW = {"name": "To Do", "statusCategory": {"key": "new"}}
DOING = {"name": "In Progress", "statusCategory": {"key": "indeterminate"}}
DONE = {"name": "Done", "statusCategory": {"key": "done"}}


class JiraSite(TicketSite):
    """The project ``SEC`` of Jira Cloud."""

    service, project = "jira", "SEC"
    version = 3
    transitions: tuple[tuple[str, str, dict[str, Any]], ...] = (("21", "Start", DOING), ("31", "Resolve", DONE))

    @property
    def target(self) -> dict[str, Any]:
        return {**super().target, "user": "bot@example.com"}

    def token_of(self, asked: Asked) -> str:
        import base64

        kind, _, value = asked.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return ""
        user, _, token = base64.b64decode(value).decode().partition(":")
        return token if user == "bot@example.com" else ""

    def fill(self, count: int) -> None:
        for _ in range(count):
            self._open({"summary": "Other", "labels": []})

    def answer(self, asked: Asked) -> Reply:
        root = f"/rest/api/{self.version}"
        if asked.path == f"{root}/search/jql" if self.version == 3 else asked.path == f"{root}/search":
            return self._search(asked)
        if asked.path == f"{root}/issue" and asked.method == "POST":
            return self._create(asked.body["fields"])
        found = re.fullmatch(root + r"/issue/(SEC-\d+)(/comment|/transitions)?", asked.path)
        issue = next((one for one in self.issues if found and one["key"] == found[1]), None)
        if found is None or issue is None:
            return Reply(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        if found[2] == "/comment":
            return self._comment(asked, found[1])
        if found[2] == "/transitions":
            return self._transition(asked, issue)
        return Reply(200, issue)

    def _search(self, asked: Asked) -> Reply:
        jql = asked.body["jql"]
        label = re.fullmatch(r'project = "SEC" AND labels = "(\w+)"', jql)
        known = self.issues[: self.indexed]
        if label is not None:
            known = [one for one in known if label[1] in one["fields"]["labels"]]
        elif jql != 'project = "SEC" ORDER BY created DESC':
            return Reply(400, {"errorMessages": ["Error in the JQL Query."], "warningMessages": []})
        return Reply(200, {"issues": list(reversed(known))[: asked.body["maxResults"]], "isLast": True})

    def _create(self, fields: dict[str, Any]) -> Reply:
        body = fields["description"]
        formatted = isinstance(body, dict) and body.get("type") == "doc" and body.get("version") == 1
        if formatted != (self.version == 3):
            return Reply(400, {"errorMessages": [], "errors": {"description": "Operation value must be a document"}})
        if fields["issuetype"]["name"] not in ("Task", "Bug"):
            return Reply(400, {"errorMessages": [], "errors": {"issuetype": "The issue type selected is invalid."}})
        issue = self._open(fields)
        return Reply(
            201, {"id": issue["id"], "key": issue["key"], "self": f"{self.url}/rest/api/3/issue/{issue['id']}"}
        )

    def _open(self, fields: dict[str, Any]) -> dict[str, Any]:
        number = len(self.issues) + 1
        issue = {"id": str(10_000 + number), "key": f"SEC-{number}", "fields": {**fields, "status": NEW}}
        self.issues.append(issue)
        return issue

    def _comment(self, asked: Asked, key: str) -> Reply:
        kept = self.comments.setdefault(key, [])
        if asked.method == "POST":
            kept.append({"id": str(500 + len(kept)), **asked.body})
            return Reply(201, {"id": kept[-1]["id"], "body": kept[-1]["body"]})
        start, size = int(asked.query["startAt"]), int(asked.query["maxResults"])
        shown = list(reversed(kept))[start : start + size]
        if asked.query.get("expand") != "properties":
            shown = [{name: one[name] for name in ("id", "body")} for one in shown]
        return Reply(200, {"startAt": start, "maxResults": size, "total": len(kept), "comments": shown})

    def _transition(self, asked: Asked, issue: dict[str, Any]) -> Reply:
        if asked.method == "GET":
            shown = [{"id": number, "name": name, "to": to} for number, name, to in self.transitions]
            return Reply(200, {"transitions": shown})
        chosen = next((to for number, _, to in self.transitions if number == asked.body["transition"]["id"]), None)
        if chosen is None:
            return Reply(
                400, {"errorMessages": ["It seems that you have tried to perform an illegal workflow operation."]}
            )
        issue["fields"]["status"] = chosen
        issue["fields"] |= asked.body.get("fields", {})
        return Reply(204)


class JiraDataCenterSite(JiraSite):
    """The same of Jira Data Center."""

    service = "jira_data_center"
    version = 2

    @property
    def target(self) -> dict[str, Any]:
        return TicketSite.target.fget(self)  # type: ignore[attr-defined, no-any-return]

    def token_of(self, asked: Asked) -> str:
        return TicketSite.token_of(self, asked)


SITES: dict[str, type[TicketSite]] = {
    site.service: site for site in (GitHubSite, GitLabSite, JiraSite, JiraDataCenterSite)
}


@contextlib.asynccontextmanager
async def ticket_site(service: str) -> AsyncIterator[TicketSite]:
    """A service on a free port."""
    site = SITES[service]()
    listening = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = listening.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        listening.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Asked(method, parts.path, query, headers, json.loads(body) if body else None)


def _written(reply: Reply) -> bytes:
    body = (
        reply.raw if reply.raw is not None else b"" if reply.document is None else json.dumps(reply.document).encode()
    )
    lines = [f"HTTP/1.1 {reply.status} Said So", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **reply.headers}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def text_of(document: Any) -> str:
    """The text of Atlassian's document format, or the text itself."""
    if isinstance(document, str):
        return document
    if document["type"] == "text":
        return str(document["text"])
    if document["type"] == "hardBreak":
        return "\n"
    inside = [text_of(one) for one in document.get("content", [])]
    return ("\n\n" if document["type"] == "doc" else "").join(inside)


def plain(path: str) -> str:
    """``path`` without its escapes."""
    return unquote(path)
