"""The promise of a 95 % interval, kept: coverage at 200 patients with 1 to 5 films each, through the whole judge.

Run on demand: `pytest tests/long`. Coverage must lie between 93 and 97 %.
"""

from __future__ import annotations

import numpy as np
import pytest

from cxray.evaluate.judge import Settings, judge
from cxray.evaluate.operating import OperatingPoint
from cxray.evaluate.screening import Task
from tests.long.world import THRESHOLD, draw, true_values

STUDIES = 2000
TRUTH = true_values()


@pytest.fixture(scope="module")
def coverage() -> dict[str, float]:
    hits = dict.fromkeys(TRUTH, 0)
    rng = np.random.default_rng(2026)
    for study in range(STUDIES):
        scores, truth, patient = draw(rng)
        task = Task("ill", scores, truth, patient, np.arange(truth.size), has_patients=True)
        point = OperatingPoint(scores >= THRESHOLD, "given", THRESHOLD, {})
        for record in judge(task, point, Settings(draws=1000, seed=study, prevalence=(0.1,))):
            if record.name in hits:
                assert record.low is not None, record
                assert record.high is not None, record
                hits[record.name] += record.low <= TRUTH[record.name] <= record.high
    return {name: number / STUDIES for name, number in hits.items()}


@pytest.mark.parametrize("name", TRUTH)
def test_coverage_lies_between_93_and_97_percent(coverage, name):
    print(f"{name}: {coverage[name]:.3f}")
    assert 0.93 <= coverage[name] <= 0.97
