"""``http.request``: one HTTP request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.error_advice import HTTP_ERRORS
from activities.scrub import scrubbed
from activities.web import OWN_HEADERS, Answer, Call, parse_url, send, shown
from playbooks.actions import Traits
from playbooks.record import Json

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
Status = Annotated[int, Field(ge=100, le=599)]
Scalar = str | int | float | bool
Query = dict[str, Scalar | list[Scalar] | None]

# RFC 9110, sections 9.2.1 and 9.2.2.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}

TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
SHOWN_OF_BODY = 200
PHRASES = {status.value: status.phrase for status in HTTPStatus}


class HttpInput(InputModel):
    """The request."""

    method: Annotated[Method, Field(description="HTTP method; GET, HEAD and OPTIONS count as reading only.")] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=8192, description="http:// or https://, without a password.")]
    headers: dict[str, Scalar] = Field(default_factory=dict, description="Request headers.")
    query: Query = Field(
        default_factory=dict,
        description="Query parameters, added to those of the URL; a list repeats its name, null is left out.",
    )
    json_body: Annotated[Json, Field(alias="json", description="Body, sent as JSON.")] = None
    body: Annotated[str | None, Field(description="Body, sent as it is, in UTF-8; not together with json.")] = None
    expect_status: Annotated[
        Status | list[Status] | None,
        Field(description="The status, or those, that count as success; default 2xx, 3xx."),
    ] = None
    timeout: Annotated[float, Field(gt=0, le=600, description="Seconds for the whole of it, redirects included.")] = (
        30.0
    )
    follow_redirects: Annotated[bool, Field(description="Follow up to 5 redirects, each checked like the URL.")] = True

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, method: Any) -> Any:
        return method.upper() if isinstance(method, str) else method

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in headers.items():
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"the header {name} is written by the client itself")
            if any(ord(character) < 32 and character != "\t" for character in f"{name}{value}"):
                raise ValueError("a header has a control character in it")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> HttpInput:
        if self.body is not None and "json_body" in self.model_fields_set:
            raise ValueError("json and body exclude each other")
        return self

    def content(self) -> bytes | None:
        """The body in bytes, None when there is none."""
        if "json_body" in self.model_fields_set:
            return json.dumps(self.json_body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return None if self.body is None else self.body.encode("utf-8", "replace")

    def call(self) -> Call:
        """The request for the client."""
        headers = {name: text_of(value) for name, value in self.headers.items()}
        if "json_body" in self.model_fields_set and not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
        return Call(
            method=self.method,
            url=self.url,
            headers=headers,
            query=list(_pairs(self.query)),
            content=self.content(),
            timeout=self.timeout,
            follow_redirects=self.follow_redirects,
        )

    def expects(self, status: int) -> bool:
        """True when ``status`` counts as success."""
        if self.expect_status is None:
            return 200 <= status < 400
        return status in (self.expect_status if isinstance(self.expect_status, list) else [self.expect_status])


class HttpOutput(OutputModel):
    """The answer; either ``json`` or ``body`` holds its content."""

    status: Annotated[int | None, Field(description="Status code; null in a dry run.")] = None
    headers: dict[str, str] = Field(default_factory=dict, description="Headers, names in lower case.")
    json_body: Annotated[Json, Field(alias="json", description="The body, when the answer is JSON.")] = None
    body: Annotated[str | None, Field(description="The body as text, when the answer is anything else.")] = None
    url: Annotated[str, Field(description="Where the answer came from, after redirects.")]


class HttpRequest(Action[HttpInput, HttpOutput]):
    """Sends one HTTP request and answers with status, headers and body (up to 256 KiB; a larger one is an error).

    Only public addresses can be reached, and those that the operator has opened; each redirect is checked again, and
    the request's headers are not sent on to another host.
    """

    name = "http.request"
    title = "HTTP request"
    rehearsal = "GET, HEAD and OPTIONS run for real; of any other method it says what would be sent, and sends nothing."
    Input = HttpInput
    Output = HttpOutput
    errors: ClassVar[Mapping[str, str]] = {
        **HTTP_ERRORS,
        "unexpected_status": "The answer's status is not one of `expect_status`; the message has the beginning of its "
        "body. 408, 425, 429 and 5xx are worth a retry.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "method": "POST",
        "url": "https://inventory.example.com/api/hosts",
        "headers": {"Authorization": "Bearer {{ secrets.inventory_token }}"},
        "json": {"name": "{{ asset.name }}", "state": "isolated"},
        "expect_status": [200, 201],
    }

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """By the method, when it is a constant."""
        method = parameters.get("method", "GET") if isinstance(parameters, dict) else None
        name = method.upper() if isinstance(method, str) else ""
        return Traits(safe=name in SAFE_METHODS, idempotent=name in IDEMPOTENT_METHODS)

    async def run(self, inputs: HttpInput, context: ActionContext) -> HttpOutput:
        """Send it.  Raises ``ActionError``: what ``activities.web.send`` raises, and ``unexpected_status``."""
        answer = await send(inputs.call(), context.egress)
        if not inputs.expects(answer.status):
            raise _unexpected(inputs, answer)
        document = _json(answer)
        return HttpOutput(
            status=answer.status,
            headers=answer.headers,
            json=document,
            body=None if document is not None else answer.text,
            url=answer.url,
        )

    async def rehearse(self, inputs: HttpInput, context: ActionContext) -> Rehearsal:
        """Say what would be sent.  Raises ``ActionError`` with code ``invalid_url``."""
        url = parse_url(inputs.url)
        content = inputs.content()
        body = f" with a body of {len(content)} bytes" if content is not None else ""
        effects: list[dict[str, Json]] = []
        if inputs.method not in SAFE_METHODS:
            effects = [{"kind": "http", "method": inputs.method, "url": str(url)}]
        return Rehearsal(f"Would {inputs.method} {shown(url)}{body}.", effects, HttpOutput(url=str(url)))


def text_of(value: Scalar) -> str:
    """A scalar as it stands in a header or a query: ``true`` rather than Python's ``True``."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _pairs(query: Query) -> Iterator[tuple[str, str]]:
    for name, value in query.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, text_of(item)


def _json(answer: Answer) -> Json:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return None
    try:
        return json.loads(answer.body, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # says JSON and is none: the text is still of use
        return None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _unexpected(inputs: HttpInput, answer: Answer) -> ActionError:
    phrase = PHRASES.get(answer.status, "")
    expected = inputs.expect_status if inputs.expect_status is not None else "2xx or 3xx"
    where = shown(parse_url(inputs.url))
    excerpt = " ".join(scrubbed(answer.text)[:SHOWN_OF_BODY].split())
    said = f": {excerpt}" if excerpt else ""
    return ActionError(
        "unexpected_status",
        f"{inputs.method} {where} was answered with {answer.status} {phrase}".rstrip() + f", not {expected}{said}",
        retryable=answer.status in TRY_AGAIN,
        retry_after=retry_after(answer),
    )


def retry_after(answer: Answer) -> float | None:
    """Seconds of the answer's ``Retry-After`` (RFC 9110, section 10.2.3); a date there is not read."""
    text = answer.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
