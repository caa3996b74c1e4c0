"""Lists: a page at a time, or entry after entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypedDict, TypeVar, cast

from stanchion_client.messages import Call, Procedure, Request, Tell, as_document
from stanchion_client.models import Meta
from stanchion_client.retries import Session

T = TypeVar("T")

PER_PAGE = 100
"""Entries of a page, the most that the API gives at once."""


class Page(TypedDict, Generic[T]):
    """One page of a list, and where it stands in it."""

    data: list[T]
    meta: Meta


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list of the API, from the page that ``request`` asks for; ``key`` tells its entries apart."""

    request: Request
    key: Callable[[T], Any]

    @property
    def page(self) -> Call[Page[T]]:
        """The call for one page."""
        return Call(self.request, as_document, repeatable=True)

    def entries(self, session: Session) -> Procedure[T]:
        """Tells each entry, asking for the next page when the last one is used up.

        What is added or removed meanwhile shifts the pages: no entry is told twice, one that slips onto a page that
        was read already is not seen.
        """
        told: set[Any] = set()
        number = int(self.request.query.get("page") or 1)
        while True:
            request = replace(self.request, query={**self.request.query, "page": number})
            answer = yield from session.exchange(Call(request, as_document, repeatable=True))
            page = cast(Page[T], answer.json())
            for entry in page["data"]:
                if (key := self.key(entry)) not in told:
                    told.add(key)
                    yield Tell(entry)
            if not page["data"] or number * page["meta"]["per_page"] >= page["meta"]["total"]:
                return
            number += 1


def listing(path: str, page: int, per_page: int, key: Callable[[T], Any], query: Mapping[str, Any]) -> Listing[T]:
    """The list at ``path``."""
    return Listing(Request("GET", path, {**query, "page": page, "per_page": per_page}), key)
