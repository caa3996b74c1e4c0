"""Which certificates the client believes."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cli.certificates import self_signed
from stanchion_client.wire import options


@pytest.mark.parametrize("url", ["https://127.0.0.1:8443", "https://stanchion.example.com"])
def test_an_authority_of_the_environment_is_believed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE counts for an API on this host as it does for one elsewhere."""
    certificate, _ = self_signed(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = options(url, None, 1, True, None)["verify"]
    assert context.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(certificate.read_text())]
