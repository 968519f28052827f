"""Libraries that come along keep to themselves: no engine reports home or leaves an identifier behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxray.extras import is_available
from tests.pacs.bundles import write_bundle

# Where the engines would hold back of themselves, which would hide that we forgot to ask them to.
SILENCED_IN = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "ORT_DISABLE_TELEMETRY")
SCRIPT = """
import sys
from pathlib import Path
from cxray.runtime.predict import Predictor
Predictor.open(Path(sys.argv[1]), sys.argv[2])
assert sys.modules.get("openvino_telemetry") is None
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_leaves_nothing_at_home_and_has_nobody_to_tell(engine: str, tmp_path: Path) -> None:
    if not is_available(engine):
        pytest.skip(f"{engine} is not installed")
    bundle, home = write_bundle(tmp_path / "bundle"), tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in SILENCED_IN and not name.startswith("XDG")}
    command = [sys.executable, "-c", SCRIPT, str(bundle), engine]
    done = subprocess.run(command, env={**kept, "HOME": str(home)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []
