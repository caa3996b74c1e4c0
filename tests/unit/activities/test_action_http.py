"""``http.request`` against a real server."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import pytest
from temporalio.exceptions import ApplicationError

from activities.action import ActionContext, ActionError
from activities.http_request import HttpInput, HttpOutput, HttpRequest
from tests.unit.activities.action_support import (
    Certificate,
    LocalServer,
    Received,
    Stage,
    http_answer,
    make_context,
    make_stage,
)


async def request(context: ActionContext, **inputs: object) -> HttpOutput:
    return await HttpRequest().run(HttpInput.model_validate(inputs), context)


async def failure(context: ActionContext, **inputs: object) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await request(context, **inputs)
    return raised.value


async def test_an_answer_in_json_is_parsed(server: LocalServer, stage: Stage) -> None:
    """Status, headers and the parsed document come back; the text is not repeated."""
    server.answers["/x"] = http_answer(200, b'{"a": [1, null]}', content_type="application/json; charset=utf-8")
    output = (await stage.perform("http.request", {"url": f"{server.url}/x"})).output
    assert (output["status"], output["json"], output["body"], output["url"]) == (
        200,
        {"a": [1, None]},
        None,
        f"{server.url}/x",
    )
    assert output["headers"]["content-type"].startswith("application/json")


async def test_an_answer_in_text_is_a_body(server: LocalServer, context: ActionContext) -> None:
    """Text is decoded by its charset."""
    server.answers["/x"] = http_answer(200, "grün".encode("latin-1"), content_type="text/plain; charset=iso-8859-1")
    output = await request(context, url=f"{server.url}/x")
    assert (output.body, output.json_body) == ("grün", None)


@pytest.mark.parametrize("body", [b"{broken", b"[" * 100_000, b'{"a": NaN}', b""])
async def test_json_that_is_none_stays_text(server: LocalServer, context: ActionContext, body: bytes) -> None:
    """A server that only claims to send JSON does not make the step fail."""
    server.answers["/x"] = http_answer(200, body, content_type="application/json")
    output = await request(context, url=f"{server.url}/x")
    assert (output.body, output.json_body) == (body.decode(), None)


async def test_a_json_body_is_sent(server: LocalServer, context: ActionContext) -> None:
    """json is serialised and its content type set."""
    server.answers["/x"] = http_answer(201)
    await request(context, method="post", url=f"{server.url}/x", json={"ä": 1}, headers={"X-N": 3, "X-B": True})
    received = server.received[0]
    assert (received.method, received.body) == ("POST", '{"ä":1}'.encode())
    assert received.headers["content-type"] == "application/json"
    assert (received.headers["x-n"], received.headers["x-b"]) == ("3", "true")


async def test_null_can_be_sent_as_json(server: LocalServer, context: ActionContext) -> None:
    """A json of null is a body; no json is none."""
    server.answers["/x"] = http_answer(200)
    await request(context, method="PUT", url=f"{server.url}/x", json=None)
    assert server.received[0].body == b"null"


async def test_a_text_body_is_sent_as_it_is(server: LocalServer, context: ActionContext) -> None:
    """body is sent in UTF-8, under the playbook's own content type."""
    server.answers["/x"] = http_answer(200)
    await request(context, method="PUT", url=f"{server.url}/x", body="a=ä", headers={"Content-Type": "text/x"})
    assert (server.received[0].body, server.received[0].headers["content-type"]) == ("a=ä".encode(), "text/x")


async def test_query_parameters_are_added(server: LocalServer, context: ActionContext) -> None:
    """They are escaped, repeated for lists, left out for null, and the URL's own stay."""
    server.answers["/x"] = http_answer(200)
    await request(context, url=f"{server.url}/x?a=1&a=2", query={"q": "ä b&c", "l": [1, True], "n": None})
    assert server.received[0].path == "/x?a=1&a=2&q=%C3%A4+b%26c&l=1&l=true"


@pytest.mark.parametrize(
    "inputs",
    [
        {"json": 1, "body": "x"},
        {"headers": {"Host": "internal"}},
        {"headers": {"content-length": "3"}},
        {"headers": {"x": "a\r\nHost: internal"}},
        {"timeout": 0},
        {"timeout": 100_000},
        {"method": "CONNECT"},
        {"expect_status": 42},
        {"jsn": {}},
    ],
)
async def test_senseless_requests_are_invalid(server: LocalServer, stage: Stage, inputs: dict[str, object]) -> None:
    """Two bodies, the client's own headers, header injection, unknown fields: refused, and nothing is sent."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("http.request", {"url": server.url, **inputs})
    assert raised.value.type == "invalid_input"
    assert server.received == []


@pytest.mark.parametrize(
    "url",
    [
        "/relative",
        "ftp://example.com/",
        "http://",
        "http://u:p@example.com/",
        "http://h:99999/",
        "http://a b/",
        "http://a%00b/",
    ],
)
async def test_a_bad_url_is_refused(context: ActionContext, url: str) -> None:
    """Only http and https, with a host, without a password."""
    error = await failure(context, url=url)
    assert (error.code, error.retryable) == ("invalid_url", False)


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (401, False), (429, True), (500, True), (503, True)])
async def test_an_unexpected_status_fails(
    server: LocalServer, context: ActionContext, status: int, retryable: bool
) -> None:
    """The error tells status and beginning of the answer, and whether a retry may help."""
    server.answers["/x"] = http_answer(status, b"because of this")
    error = await failure(context, url=f"{server.url}/x")
    assert (error.code, error.retryable) == ("unexpected_status", retryable)
    assert f"answered with {status}" in error.message
    assert "because of this" in error.message


async def test_retry_after_is_passed_on(server: LocalServer, context: ActionContext) -> None:
    """Seconds in Retry-After reach the interpreter."""
    server.answers["/x"] = http_answer(503, retry_after="17")
    assert (await failure(context, url=f"{server.url}/x")).retry_after == 17.0


@pytest.mark.parametrize("expected", [404, [200, 404]])
async def test_the_expected_status_may_be_any(server: LocalServer, context: ActionContext, expected: object) -> None:
    """A 404 that is expected is a success."""
    assert (await request(context, url=f"{server.url}/none", expect_status=expected)).status == 404


async def test_a_success_that_is_not_expected_fails(server: LocalServer, context: ActionContext) -> None:
    """With expect_status 201 a 200 is not good enough."""
    server.answers["/x"] = http_answer(200)
    assert (await failure(context, url=f"{server.url}/x", expect_status=201)).code == "unexpected_status"


async def test_redirects_are_followed(server: LocalServer, context: ActionContext) -> None:
    """The answer comes from where the redirect leads."""
    server.answers["/a"] = http_answer(302, location="/b")
    server.answers["/b"] = http_answer(200, b"there")
    output = await request(context, url=f"{server.url}/a")
    assert (output.body, output.url) == ("there", f"{server.url}/b")


async def test_redirects_are_left_alone_on_demand(server: LocalServer, context: ActionContext) -> None:
    """follow_redirects: false answers with the redirect itself."""
    server.answers["/a"] = http_answer(302, location="/b")
    output = await request(context, url=f"{server.url}/a", follow_redirects=False)
    assert (output.status, output.headers["location"]) == (302, "/b")


async def test_a_circle_of_redirects_ends(server: LocalServer, context: ActionContext) -> None:
    """After five redirects it is enough."""
    server.answers["/a"] = http_answer(302, location="/a")
    error = await failure(context, url=f"{server.url}/a")
    assert (error.code, len(server.received)) == ("too_many_redirects", 6)


async def test_headers_do_not_follow_to_another_host(server: LocalServer, context: ActionContext) -> None:
    """A key in a header is not handed to whoever a redirect names."""
    server.answers["/a"] = http_answer(302, location=f"http://localhost:{server.port}/b")
    server.answers["/b"] = http_answer(200)
    opened = make_context(egress=type(context.egress).parse("127.0.0.0/8, ::1"))
    await request(opened, url=f"{server.url}/a", headers={"X-Api-Key": "k", "Authorization": "Bearer k"})
    first, second = server.received
    assert first.headers["x-api-key"] == "k"
    assert not {"x-api-key", "authorization"} & set(second.headers)


async def test_headers_follow_on_the_same_host(server: LocalServer, context: ActionContext) -> None:
    """A redirect within the origin keeps the key."""
    server.answers["/a"] = http_answer(302, location="/b")
    server.answers["/b"] = http_answer(200)
    await request(context, url=f"{server.url}/a", headers={"X-Api-Key": "k"})
    assert server.received[1].headers["x-api-key"] == "k"


async def test_a_large_answer_is_refused(server: LocalServer, context: ActionContext) -> None:
    """More than 256 KiB of body is an error that says so."""
    server.answers["/x"] = http_answer(200, b"x" * (256 * 1024 + 1))
    error = await failure(context, url=f"{server.url}/x")
    assert (error.code, error.retryable) == ("response_too_large", False)


async def test_an_endless_answer_is_refused(server: LocalServer, context: ActionContext) -> None:
    """A body without an end is given up at the limit, not at the end of memory."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                sent += 65536
        except ConnectionError:
            writer.close()

    listening = await asyncio.start_server(flood, "127.0.0.1", 0)
    error = await failure(context, url=f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    listening.close()
    assert error.code == "response_too_large"
    assert sent < 64 * 1024 * 1024


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_answer_is_unpacked(
    server: LocalServer, context: ActionContext, encoding: str, pack: type
) -> None:
    """A server that packs though it was not asked to is understood."""
    server.answers["/x"] = http_answer(200, pack(b"hello"), content_encoding=encoding)
    assert (await request(context, url=f"{server.url}/x")).body == "hello"


async def test_a_packed_bomb_is_refused(server: LocalServer, context: ActionContext) -> None:
    """A small answer that unpacks to 100 MB is given up at the limit."""
    server.answers["/x"] = http_answer(200, gzip.compress(b"\0" * 100_000_000), content_encoding="gzip")
    assert (await failure(context, url=f"{server.url}/x")).code == "response_too_large"


async def test_an_unknown_packing_is_refused(server: LocalServer, context: ActionContext) -> None:
    """What cannot be unpacked is not passed off as text."""
    server.answers["/x"] = http_answer(200, b"???", content_encoding="br")
    assert (await failure(context, url=f"{server.url}/x")).code == "unsupported_encoding"


async def test_a_slow_answer_times_out(server: LocalServer, context: ActionContext) -> None:
    """The time limit is for the whole request, not for each byte."""

    async def drip(received: Received) -> bytes:
        await asyncio.sleep(30)
        return http_answer(200)

    server.answers["/x"] = drip
    error = await failure(context, url=f"{server.url}/x", timeout=0.1)
    assert (error.code, error.retryable) == ("timed_out", True)


async def test_a_refused_connection_is_told(context: ActionContext) -> None:
    """Nobody listens there: a retry may find somebody."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure(context, url=f"http://127.0.0.1:{unused.getsockname()[1]}/secret?token=x")
    assert (error.code, error.retryable) == ("connect_failed", True)
    assert "refused" in error.message
    assert "token" not in error.message


async def test_a_connection_that_breaks_off_is_told(server: LocalServer, context: ActionContext) -> None:
    """A server that closes without an answer leaves an error that may be retried."""
    server.answers["/x"] = b""
    error = await failure(context, url=f"{server.url}/x")
    assert (error.code, error.retryable) == ("connection_lost", True)


async def test_nonsense_from_the_server_is_told(server: LocalServer, context: ActionContext) -> None:
    """What is not HTTP is a failed step, not a crash of the worker."""
    server.answers["/x"] = b"SSH-2.0-OpenSSH_9.2\r\n\r\n"
    assert (await failure(context, url=f"{server.url}/x")).code == "connection_lost"


async def test_an_unknown_certificate_is_refused(tls_server: LocalServer, context: ActionContext) -> None:
    """A certificate that nobody vouches for fails, and a retry would not help."""
    error = await failure(context, url=f"https://127.0.0.1:{tls_server.port}/")
    assert (error.code, error.retryable) == ("tls_failed", False)
    assert "self-signed" in error.message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_trusted_certificate_is_accepted(
    tls_server: LocalServer, trusted: Certificate, context: ActionContext, host: str
) -> None:
    """TLS speaks for the name of the URL, though the connection goes to an address resolved before."""
    tls_server.answers["/x"] = http_answer(200, b"secure")
    output = await request(context, url=f"https://{host}:{tls_server.port}/x")
    assert output.body == "secure"
    assert tls_server.received[0].headers["host"] == f"{host}:{tls_server.port}"


async def test_a_certificate_of_another_name_is_refused(
    tls_server: LocalServer, trusted: Certificate, context: ActionContext
) -> None:
    """The address is right and the certificate trusted, but it names another host."""
    error = await failure(context, url=f"https://127.0.0.2:{tls_server.port}/")
    assert error.code in ("tls_failed", "connect_failed")


async def test_tls_to_a_plain_server_fails(context: ActionContext) -> None:
    """A server without TLS is told apart from one that cannot be reached."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    error = await failure(context, url=f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    listening.close()
    assert error.code == "tls_failed"


async def test_a_cancel_ends_a_request_at_once(server: LocalServer, context: ActionContext) -> None:
    """A cancelled request does not wait for its answer."""
    waiting = asyncio.Event()

    async def hang(received: Received) -> bytes:
        waiting.set()
        await asyncio.sleep(30)
        return http_answer(200)

    server.answers["/x"] = hang
    task = asyncio.create_task(request(context, url=f"{server.url}/x"))
    await waiting.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=2)
    assert done
    assert task.cancelled()


async def test_a_dry_run_sends_no_post(server: LocalServer, stage: Stage) -> None:
    """It says what would be sent, with its size, and predicts the shape of the answer."""
    result = await stage.perform(
        "http.request", {"method": "POST", "url": f"{server.url}/x?t=1", "json": {"a": 1}}, dry_run=True
    )
    assert result.would == f"Would POST {server.url}/x with a body of 7 bytes."
    assert result.effects == [{"kind": "http", "method": "POST", "url": f"{server.url}/x?t=1"}]
    assert result.output["status"] is None
    assert server.received == []


async def test_a_dry_run_gets_for_real(server: LocalServer, stage: Stage) -> None:
    """A GET only reads, so a dry run sees the real answer."""
    server.answers["/x"] = http_answer(200, b"real")
    result = await stage.perform("http.request", {"url": f"{server.url}/x"}, dry_run=True)
    assert (result.output["body"], result.would) == ("real", None)


async def test_a_dry_run_without_reads_gets_nothing(server: LocalServer, stage: Stage) -> None:
    """dry_run_reads: false leaves the network alone, and a GET has no effects."""
    result = await stage.perform("http.request", {"url": f"{server.url}/x"}, dry_run=True, dry_run_reads=False)
    assert (result.would, result.effects) == (f"Would GET {server.url}/x.", [])
    assert server.received == []


async def test_the_worker_refuses_private_addresses_by_default(server: LocalServer) -> None:
    """Without an allow list the action reaches no address of the worker's own network."""
    with pytest.raises(ApplicationError) as raised:
        await make_stage(egress_allow="").perform("http.request", {"url": server.url})
    assert raised.value.type == "egress_refused"
