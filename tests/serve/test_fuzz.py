"""The OpenAPI description as an attacker reads it: schemathesis makes requests from it, none may end in a fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytest.importorskip("schemathesis", reason="needs the extra dev-serve")
EXAMPLES = os.environ.get("CXRAY_FUZZ_EXAMPLES", "12")


def test_no_request_made_from_the_description_is_a_fault(client: httpx.Client, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{client.base_url}/openapi.json"]
    options = [
        "--checks",
        "not_a_server_error",
        "--max-examples",
        EXAMPLES,
        "--seed",
        "1",
        "--phases",
        "fuzzing,coverage",
    ]
    before = client.get("/metrics").text
    found = subprocess.run(
        [*command, *options, "--no-color"], capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False
    )
    served = client.get("/metrics").text
    faults = {line for line in served.splitlines() if line.startswith("cxray_requests_total") and 'status="5' in line}
    allowed = {line for line in faults if 'status="503"' in line and 'code="internal"' not in line}
    assert faults - allowed - set(before.splitlines()) == set(), found.stdout[-3000:]
    assert served.count("cxray_requests_total{") > before.count("cxray_requests_total{") + 10, (
        found.stdout + found.stderr
    )
    assert client.get("/api/ready").status_code == 200
