"""The command against a coordinator that speaks TLS alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.clusters_up import PRIMACY, environment, until
from tests.integration.coordinators import CoordinatorProcess

pytestmark = pytest.mark.integration

WHY = ("--reason", "new kernel")


def test_the_command_speaks_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=witness.example", "-addext", "subjectAltName=DNS:witness.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    process = CoordinatorProcess(
        tmp_path / "state", "--set", f"tls.certificate={certificate}", "--set", f"tls.key={key}"
    )

    def primacy(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {**environment(), "PRIMACY_ADDRESS": process.grpc, **settings}
        result = subprocess.run((*PRIMACY, *words), capture_output=True, text=True, timeout=60, env=env, check=False)
        assert "Traceback" not in result.stderr, result.stderr
        return result

    trusting = {"PRIMACY_TLS_CA": str(certificate), "PRIMACY_TLS_SERVER_NAME": "witness.example"}
    process.spawn()
    try:
        until(lambda: primacy("status", **trusting).returncode == 0, "the coordinator answers over TLS", 60.0)
        flags = ("--tls-ca", str(certificate), "--tls-server-name", "witness.example")
        assert json.loads(primacy(*flags, "overrides", "-o", "json").stdout)["overrides"] == []
        paused = primacy("pause", *WHY, "--yes", **trusting)
        assert paused.returncode == 0, paused.stderr
        assert "new kernel" in primacy("overrides", **trusting).stdout
        # Whoever does not trust it, takes it for another, or speaks no TLS, is told nothing.
        for settings in (
            {"PRIMACY_TLS_CA": str(certificate)},
            {"PRIMACY_TLS_SERVER_NAME": "witness.example"},
            {},
        ):
            assert primacy("status", **settings).returncode == 3, settings
        missing = primacy("--tls-ca", str(tmp_path / "absent.pem"), "status")
        assert missing.returncode == 2 and "absent.pem" in missing.stderr
    finally:
        process.close()
