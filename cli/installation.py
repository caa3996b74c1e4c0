"""One whole installation on one data folder: Temporal, worker and API, started together and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli import forks
from cli.certificates import check_pair, self_signed
from cli.http_probe import until_ready
from cli.supervisor import Part, StartError, Supervisor
from engine.embedded import EmbeddedOptions, FolderLock, check_version, command
from engine.ports import bind_free

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0
STATE_FILE = "run.json"
TOKEN = "STANCHION_ADMIN_TOKEN"
TOKEN_FILE = "admin-token"
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to run and where; a port of 0 is chosen, ``ui_port`` None leaves Temporal's Web UI out.

    ``extra`` are environment variables for worker and API; ``log_dir`` takes their output.  ``isolated`` leaves out
    the settings of the environment that we run in.  ``copies``: worker and API are copies of this process, where that
    can be; for a process that does nothing else.
    """

    data_dir: Path
    host: str = LOOPBACK
    port: int = 8080
    temporal_port: int = 7233
    ui_port: int | None = None
    log_dir: Path | None = None
    log_level: str = "error"
    isolated: bool = False
    copies: bool = False
    tls_self_signed: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


class Installation:
    """A running installation: ``async with Installation(options) as installation``.

    Raises ``StartError`` or ``engine.embedded.EmbeddedError`` when it cannot start.  ``only_temporal`` leaves out
    worker, API and database.
    """

    def __init__(self, options: Options, *, only_temporal: bool = False) -> None:
        self.options = options
        self.only_temporal = only_temporal
        self.data_dir = options.data_dir.absolute()
        self.hurry = asyncio.Event()
        self._lock: FolderLock | None = None
        self.supervisor: Supervisor | None = None
        self.token = ""
        self.tls: tuple[Path, Path] | None = None
        # Temporal's own variables would send API and worker, but not the server, to another place.
        left_out = ("TEMPORAL_", "STANCHION_") if options.isolated else ("TEMPORAL_",)
        self._base = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}

    @property
    def reach(self) -> str:
        """Address at which this machine reaches the API."""
        return {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}.get(self.options.host, self.options.host)

    @property
    def url(self) -> str:
        """Base URL of the API, as this machine reaches it."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{f'[{self.reach}]' if ':' in self.reach else self.reach}:{self.port}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database of API and worker."""
        from settings import Settings

        # Given, so that an isolated installation takes nothing from the environment that we run in.
        return Settings(data_dir=self.data_dir, database_url=self._base.get("STANCHION_DATABASE_URL")).database

    @property
    def ui_url(self) -> str | None:
        """Base URL of Temporal's Web UI."""
        return f"http://{LOOPBACK}:{self.ui_port}" if self.ui_port else None

    def sentence(self) -> str:
        """One line for people: it is ready, and where what is."""
        ui = f", Temporal Web UI {self.ui_url}" if self.ui_url else ""
        if self.only_temporal:
            return f"Temporal is ready: {LOOPBACK}:{self.temporal_port}{ui}"
        given = next((name for name in (TOKEN, f"{TOKEN}_FILE") if self._base.get(name)), self.data_dir / TOKEN_FILE)
        where = f"console at {self.url}/, interface at {self.url}/docs"
        return f"Stanchion is ready: {where}{ui}, admin token in {given}"

    async def start(self) -> None:
        """Starts everything and returns when it serves."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FolderLock(self.data_dir)
        try:
            check_version(self.data_dir)
            self._choose_ports()
            if not self.only_temporal:
                self.tls = self._certificate()
                self.token = given_token(self._base) or admin_token(self.data_dir)
            supervisor = self.supervisor = self._supervisor(self._lock)
            await supervisor.start()
            await self._until_ready(supervisor)
            supervisor.ready()
        except BaseException:
            self.hurry.set()
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops API, worker and Temporal, in this order; at once when ``hurry`` is set."""
        if self.supervisor is not None:
            await self.supervisor.stop(self.hurry)
            self.supervisor = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def load_samples(self) -> None:
        """Loads what is shipped to try Stanchion with (``cli.samples``); raises ``StartError``."""
        assert self.supervisor is not None
        environment = without_token(self._environment()) | {"STANCHION_URL": self.url}
        if self.tls:
            environment["STANCHION_CA_FILE"] = str(self.tls[0])
        # By a pipe: the kernel shows a program's environment, and a file may be one that is read once.
        reader, writer = os.pipe()
        try:
            os.write(writer, self.token.encode())
            os.close(writer)
            part = Part("samples", module("cli.samples", str(reader)), environment, inherit=(reader,))
            if await self.supervisor.once(part) != 0:
                raise StartError(f"The samples could not be loaded.{self._where_to_look()}")
        finally:
            os.close(reader)

    async def __aenter__(self) -> Installation:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _certificate(self) -> tuple[Path, Path] | None:
        """Certificate and key with which the API serves HTTPS, or None for HTTP; raises ``StartError``."""
        options = self.options
        given = [Path(self._base[name]) for name in ("STANCHION_TLS_CERT", "STANCHION_TLS_KEY") if name in self._base]
        files = [file for file in (options.tls_cert, options.tls_key) if file] or given
        if options.tls_self_signed:
            if files:
                raise StartError("--tls-self-signed makes a certificate: leave out --tls-cert and --tls-key.")
            return self_signed(self.data_dir, options.host)
        if not files:
            return None
        if len(files) != 2:
            raise StartError("--tls-cert and --tls-key belong together.")
        check_pair(*files)
        return files[0].absolute(), files[1].absolute()

    def _choose_ports(self) -> None:
        options = self.options
        with contextlib.ExitStack() as held:
            self.temporal_port = claim(held, LOOPBACK, options.temporal_port, "--temporal-port")
            self.ui_port = None if options.ui_port is None else claim(held, LOOPBACK, options.ui_port, "--ui-port")
            self.port = 0 if self.only_temporal else claim(held, options.host, options.port, "--port")
            # By number, since asyncio looks a name up in a thread; the port has just been bound to it.
            self.address = self.reach if ":" in self.reach else socket.gethostbyname(self.reach)

    def _supervisor(self, lock: FolderLock) -> Supervisor:
        temporal = EmbeddedOptions(self.data_dir, self.temporal_port, self.ui_port, log_level=self.options.log_level)
        strangers = {name: value for name, value in self._base.items() if not name.startswith("STANCHION_")}
        parts = [Part("temporal", command(temporal), strangers, STOP_SECONDS, (lock.descriptor,), chatty=True)]
        if not self.only_temporal:
            environment = self._environment()
            drain = drain_seconds(environment) + STOP_SECONDS
            tokenless = without_token(environment)
            parts.append(Part("worker", module("cli.work"), tokenless, drain, forked="cli.work:main"))
            parts.append(Part("api", module("cli.serve"), environment, STOP_SECONDS, forked="cli.serve:serve"))
        facts: dict[str, object] = {"temporal": temporal.address, "temporal_ui": self.ui_url}
        if not self.only_temporal:
            facts["url"] = self.url
        copies = self.options.copies and forks.available()
        return Supervisor(parts, self.options.log_dir, self.data_dir / STATE_FILE, facts, copies=copies)

    def _environment(self) -> dict[str, str]:
        ours = {
            "STANCHION_DATA_DIR": str(self.data_dir),
            "STANCHION_HOST": self.options.host,
            "STANCHION_PORT": str(self.port),
            "STANCHION_TEMPORAL_ADDRESS": f"{LOOPBACK}:{self.temporal_port}",
            "STANCHION_TEMPORAL_NAMESPACE": "default",
            TOKEN: self.token,
        }
        if self.tls:
            ours |= {"STANCHION_TLS_CERT": str(self.tls[0]), "STANCHION_TLS_KEY": str(self.tls[1])}
        if self.ui_url and "STANCHION_TEMPORAL_UI_URL" not in self._base:
            ours["STANCHION_TEMPORAL_UI_URL"] = self.ui_url
        # The token was read where it is in a file.
        return without_token(self._base) | ours | dict(self.options.extra)

    async def _until_ready(self, supervisor: Supervisor) -> None:
        waiting = asyncio.ensure_future(self._prepared_and_serving(supervisor))
        failing = asyncio.ensure_future(supervisor.failure())
        try:
            await asyncio.wait({waiting, failing}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                raise StartError(f"Stanchion cannot start: {failing.result()}.{self._where_to_look()}")
            if not waiting.done():
                raise StartError(f"Stanchion was not ready within {READY_SECONDS:g} s.{self._where_to_look()}")
            waiting.result()
        finally:
            waiting.cancel()
            failing.cancel()

    async def _prepared_and_serving(self, supervisor: Supervisor) -> None:
        if not self.only_temporal:
            # The worker prepares before it works, and the API answers for both.
            await until_ready(self.address, self.port, tls=self.tls is not None)
        elif await supervisor.once(Part("prepare", module("cli.prepare", "temporal"), self._environment())) != 0:
            raise StartError(f"Temporal could not be prepared.{self._where_to_look()}")

    def _where_to_look(self) -> str:
        return f" See the logs in {self.options.log_dir}." if self.options.log_dir else ""


def module(name: str, *arguments: str) -> list[str]:
    """The command line of a module of ours; ``-P``: a folder that we are started in must not stand in for one."""
    return [sys.executable, "-P", "-m", name, *arguments]


def claim(held: contextlib.ExitStack, host: str, port: int, option: str) -> int:
    """``port``, or a free one for 0, kept from others while ``held`` is open; raises ``StartError`` for a taken one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = held.enter_context(socket.socket(family))
    try:
        if port == 0:
            return bind_free(probe, host)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError as fault:
        raise StartError(f"Port {port} of {host} cannot be used ({fault.strerror}): give another {option}.") from fault
    return port


def drain_seconds(environment: Mapping[str, str]) -> float:
    """Seconds that a stopping worker gives its actions (``STANCHION_DRAIN_SECONDS``); raises ``StartError``."""
    text = environment.get("STANCHION_DRAIN_SECONDS", "30")
    try:
        return float(text)
    except ValueError as fault:
        raise StartError(f"STANCHION_DRAIN_SECONDS is not a number: {text!r}.") from fault


def given_token(environment: Mapping[str, str]) -> str:
    """The token with every permission that the operator gives, by a variable or in a file; raises ``StartError``."""
    token, file = environment.get(TOKEN, ""), environment.get(f"{TOKEN}_FILE", "")
    if not file:
        return token
    if token:
        raise StartError(f"{TOKEN} and {TOKEN}_FILE are both set: leave one out.")
    try:
        token = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise StartError(f"{TOKEN}_FILE: {file} cannot be read: {fault}.") from fault
    if not token:
        raise StartError(f"{TOKEN}_FILE: {file} is empty.")
    return token


def without_token(environment: Mapping[str, str]) -> dict[str, str]:
    """What nobody is given who does not check tokens."""
    return {name: value for name, value in environment.items() if not name.startswith(TOKEN)}


def admin_token(data_dir: Path) -> str:
    """The token with every permission that is kept in the data folder; made at the first start."""
    path = data_dir / TOKEN_FILE
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"stn_{secrets.token_urlsafe(32)}\n")
    return path.read_text(encoding="ascii").strip()


async def run(installation: Installation, when_ready: Callable[[Installation], Awaitable[int]]) -> int:
    """Runs ``installation`` with ``when_ready`` in it; SIGTERM, SIGINT and SIGHUP end it, a second one at once.

    Returns the exit code of ``when_ready``, or 0 after a signal.
    """
    stop = asyncio.Event()

    def on_signal() -> None:
        (installation.hurry if stop.is_set() else stop).set()

    if installation.options.copies:
        forks.wait_without_threads()
    # Who started us may ignore it: nobody would be told then how a process has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    work = asyncio.ensure_future(_run(installation, when_ready))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not work.done():
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        return 0
    return work.result()


async def _run(installation: Installation, when_ready: Callable[[Installation], Awaitable[int]]) -> int:
    async with installation:
        return await when_ready(installation)
