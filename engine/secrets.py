"""Where a worker looks for secrets: environment, files, the database, Vault, in this order."""

from __future__ import annotations

from pydantic import SecretStr

from activities.errors import ActionError
from activities.secrets import EnvironmentSecrets, FileSecrets, SecretChain, SecretSource
from engine.codec import EncryptionKeyError
from engine.sealing import Sealer
from settings import Settings
from storage import secrets
from storage.database import Database
from storage.errors import DatabaseUnavailable


def sealing_context(name: str) -> str:
    """What binds the sealed value of a secret to its name: moved to another name it cannot be opened."""
    return f"secret:{name}"


class DatabaseSecrets:
    """Secrets that ``stanchion secret set`` has put into the database, sealed with the encryption key."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def find(self, name: str) -> str | None:
        """See ``activities.secrets.SecretSource``."""
        try:
            sealed = await self._database.read(secrets.get_sealed, name)
            return None if sealed is None else self._sealer.open(sealed, sealing_context(name))
        except DatabaseUnavailable as error:
            told = f"The secret {name!r} cannot be looked up in the database: {error.detail}"
            raise ActionError("secrets_unavailable", told) from None
        except EncryptionKeyError as error:
            told = f"The secret {name!r} of the database cannot be opened: {error}."
            raise ActionError("secrets_unavailable", told, retryable=False) from None

    def place(self, name: str) -> str:
        """See ``activities.secrets.SecretSource``."""
        return "`stanchion secret set` has stored none of this name"


def secret_chain(config: Settings, database: Database) -> SecretChain:
    """The sources that these settings name.  Raises EncryptionKeyError and ValueError for settings that cannot be."""
    sources: list[SecretSource] = [EnvironmentSecrets()]
    if config.secrets_dir is not None:
        sources.append(FileSecrets(config.secrets_dir))
    sources.append(DatabaseSecrets(database, Sealer.of(config)))
    if config.vault_url is not None:
        sources.append(_vault(config, config.vault_url))
    return SecretChain(sources)


def _vault(config: Settings, url: str) -> SecretSource:
    from activities.vault import VaultAddress, VaultSecrets

    if (config.vault_token is None) == (config.vault_role_id is None or config.vault_secret_id is None):
        raise ValueError(
            "STANCHION_VAULT_URL needs either STANCHION_VAULT_TOKEN, "
            "or STANCHION_VAULT_ROLE_ID and STANCHION_VAULT_SECRET_ID"
        )
    address = VaultAddress(
        url=url,
        token=_plain(config.vault_token),
        role_id=config.vault_role_id,
        secret_id=_plain(config.vault_secret_id),
        mount=config.vault_mount,
        path=config.vault_path,
        namespace=config.vault_namespace,
        ca_file=config.vault_ca_file,
    )
    return VaultSecrets(address)


def _plain(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
