"""More than one device on one machine, tried on two logical processors of a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="needs the extra train")

# One epoch of each stage: what takes time is building a graph for each device.
SHORT = ("train.frozen_epochs=1", "train.epochs=1")
SCRIPT = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
listed = tf.config.list_logical_devices
tf.config.list_logical_devices = lambda kind=None: listed("CPU") if kind == "GPU" else listed(kind)
mirrored = tf.distribute.MirroredStrategy
tf.distribute.MirroredStrategy = lambda: mirrored([device.name for device in listed("CPU")])
from cxray.workflow.train import train
run = train(Path(sys.argv[1]), Path(sys.argv[2]), recipe="demo", overrides=sys.argv[3:])
print("devices", run.facts["devices"], "epochs", run.facts["best_epoch"])
"""


def test_training_is_mirrored_over_two_devices(phantom_films: Path, tmp_path: Path) -> None:
    from tests.runtime_fixtures import SETTINGS

    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, phantom_films, tmp_path / "run", *SETTINGS, *SHORT],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.startswith("devices 2 epochs")
    assert (tmp_path / "run" / "manifest.json").is_file()
