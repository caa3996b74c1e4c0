"""Every setting of Stanchion, in one place: environment variables named ``STANCHION_…``.

``docs/settings.md`` is the same table for readers; a test holds the two together.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

ORIGIN = r"https?://[a-z0-9.-]+(:[0-9]{1,5})?"
"""An origin as browsers send it (RFC 6454, section 6.2)."""


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets by files, as Docker, Kubernetes and systemd hand them over: ``STANCHION_…_FILE`` names one.

    Raises ``SettingsError`` for a file that cannot be read, and for a secret that is given in both ways.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file for the field, without the line break at its end; None where none is named."""
        variable = f"STANCHION_{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE") if may_be_a_file(field_name, field) else None
        if not path:
            return None, field_name, False
        if os.environ.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set: leave one out.")
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}_FILE: {path} cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        """What the files say, by field."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def may_be_a_file(name: str, field: FieldInfo) -> bool:
    """Whether the setting may be given as a file: secrets, and the URL with the database's password in it."""
    return name == "database_url" or field.annotation == SecretStr | None


class Settings(BaseSettings):
    """Settings of the API, the worker and the embedded server; times in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="STANCHION_", extra="ignore", frozen=True)

    data_dir: Path = Field(Path("data"), description="Folder of the embedded database and of Temporal's file.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL: postgresql+psycopg://user:password@host/name. Unset: SQLite in the data folder.",
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, description="Port of the API.")
    tls_cert: Path | None = Field(None, description="Certificate (PEM) with which the API serves HTTPS.")
    tls_key: Path | None = Field(None, description="The key of that certificate (PEM).")
    temporal_address: str = Field("127.0.0.1:7233", description="host:port of Temporal's frontend.")
    temporal_namespace: str = Field("default", description="Temporal namespace.")
    temporal_ui_url: str | None = Field(None, description="Base URL of the Temporal Web UI, for links in answers.")
    temporal_retention_days: int = Field(30, ge=1, description="Days that Temporal keeps closed runs.")
    task_queue: str = Field("stanchion", description="Temporal task queue of workflows and activities.")
    admin_token: SecretStr | None = Field(None, description="A token with every permission, for the first start.")
    phantom_user: str | None = Field(None, description="A user of the Phantom interface, for the first start.")
    phantom_password: SecretStr | None = Field(None, description="The password of that user.")
    phantom_token: SecretStr | None = Field(None, description="A token (ph-auth-token) of the Phantom interface.")
    phantom_exclusive: bool = Field(
        False, description="A playbook runs on a container once at a time, also through the Phantom interface."
    )
    encryption_key: SecretStr | None = Field(
        None,
        description="Base64 of 32 bytes: payloads in Temporal are encrypted with AES-GCM. "
        "Several with commas between them: the first encrypts, all decrypt.",
    )
    secrets_dir: Path | None = Field(
        None, description="Folder with one file a secret, as Docker and Kubernetes mount them; for workers."
    )
    vault_url: str | None = Field(None, description="Address of a Vault with secrets, for workers: https://host:8200.")
    vault_token: SecretStr | None = Field(None, description="Token for Vault; or an AppRole.")
    vault_role_id: str | None = Field(None, description="Role id of an AppRole in Vault.")
    vault_secret_id: SecretStr | None = Field(None, description="Secret id of that AppRole.")
    vault_mount: str = Field("secret", description="Where the KV engine (version 2) is mounted in Vault.")
    vault_path: str = Field("stanchion", description="Folder in it: each secret has a key `value` under its name.")
    vault_namespace: str | None = Field(None, description="Namespace in Vault, where it has several.")
    vault_ca_file: Path | None = Field(None, description="Certificates (PEM) that Vault's may be signed with.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="Largest request body.")
    max_head_bytes: int = Field(32 * 1024, ge=1024, description="Largest head of a request: its target and fields.")
    head_seconds: float = Field(10.0, gt=0, description="Time in which the head of a request has to arrive.")
    body_seconds: float = Field(60.0, gt=0, description="Time in which the body of a request has to arrive.")
    cors_origins: str = Field(
        "",
        pattern=rf"^({ORIGIN}(,{ORIGIN})*)?$",
        description="Comma-separated origins, such as https://ui.example.com, whose pages may use the API from a "
        "browser; none by default.",
    )
    hsts_seconds: int = Field(
        0, ge=0, description="Seconds for which browsers shall use HTTPS only (Strict-Transport-Security); 0: not told."
    )
    starts_in_line: int = Field(
        1000, ge=0, description="Starts that wait for their turn in one API; what comes beyond is answered 503."
    )
    rate_limit: int | None = Field(None, ge=1, description="Requests a minute for one token; unset: no limit.")
    egress_allow: str = Field(
        "", description="Comma-separated hosts, addresses or networks that actions may reach though they are private."
    )
    retention_executions_days: int | None = Field(
        None,
        ge=1,
        description="Days that executions are kept after they have closed, with steps and artifacts; unset: for ever.",
    )
    retention_audit_days: int | None = Field(
        None, ge=1, description="Days that the audit trail is kept; unset: for ever. What stays can still be verified."
    )
    retention_keys_days: int = Field(7, ge=1, description="Days that an Idempotency-Key is remembered.")
    sweep_interval: float = Field(15.0, gt=0, description="Seconds between sweeps for runs closed behind our back.")
    worker_activities: int = Field(100, ge=1, description="Activities that one worker runs at once.")
    worker_workflow_tasks: int = Field(50, ge=2, description="Workflow tasks that one worker handles at once.")
    worker_address: str | None = Field(
        None,
        pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}$",
        description="host:port on which a worker serves /metrics, /healthz and /readyz; unset: nowhere.",
    )
    drain_seconds: float = Field(30.0, ge=0, description="Time that a stopping worker gives its running actions.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field("json", pattern="^(json|text)$", description="json, or text for people.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, then the variables, then the files that variables name."""
        return init_settings, env_settings, SecretFiles(settings_cls)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'stanchion.sqlite').absolute()}"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
