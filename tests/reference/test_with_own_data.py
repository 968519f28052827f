"""Values of data that may not be shipped: run when a developer supplies the tables in CXRAY_REFERENCE_DATA.

- `aSAH.csv` from pROC: columns outcome (Good/Poor), wfns, s100b, ndka.
- `VanDyke.csv` from MRMCaov: columns reader, treatment, case, truth, rating.
- `Niamey.csv` from reliabilitydiag: columns obs, Logistic, EMOS, ENS, EPC.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from cxray.evaluate import corp, curves, intervals, ranking, readers


def read(name: str, origin: str) -> list[dict[str, str]]:
    folder = os.environ.get("CXRAY_REFERENCE_DATA", "")
    path = Path(folder) / name
    if not folder or not path.is_file():
        pytest.skip(f"{name} of {origin} may not be shipped; put it into the folder named by CXRAY_REFERENCE_DATA")
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def bleeding():
    rows = read("aSAH.csv", "pROC")
    truth = np.array([row["outcome"] == "Poor" for row in rows])
    scores = np.array([[float(row[name]) for name in ("wfns", "s100b", "ndka")] for row in rows])
    return scores, truth, np.arange(len(rows))


def test_areas_and_variances(bleeding):
    values, covariance = ranking.delong_covariance(*bleeding)
    assert values == pytest.approx([0.823678861788618, 0.731368563685637, 0.611957994579946], abs=1e-12)
    expected = [0.00146991470882363, 0.00266868245717244, 0.0031908105493913]
    assert np.diag(covariance) == pytest.approx(expected, abs=1e-14)
    limits = intervals.wald(values[2], covariance[2, 2] ** 0.5)
    assert limits == pytest.approx((0.501244999271703, 0.722670989888189), abs=1e-9)
    logit = intervals.logit_scale(values[1], covariance[1, 1] ** 0.5)
    assert logit == pytest.approx((0.6192169389927, 0.8200857499135), abs=1e-9)


@pytest.mark.parametrize(
    ("pair", "p", "limits"),
    [
        ((0, 1), 0.0271757822291882, (0.0104061769564846, 0.174214419249478)),
        ((0, 2), 0.00514557970691098, (0.0634011709339876, 0.3600405634833566)),
        ((2, 1), 0.164295175223054, None),
    ],
)
def test_paired_differences(bleeding, pair, p, limits):
    scores, truth, patient = bleeding
    found, measured = ranking.paired_test(scores[:, list(pair)], truth, patient)
    assert measured == pytest.approx(p, abs=1e-9)
    if limits:
        assert (found.low, found.high) == pytest.approx(limits, abs=1e-9)


def test_partial_area_and_average_precision(bleeding):
    scores, truth, _ = bleeding
    assert curves.partial_auroc(scores[:, 0], truth) == pytest.approx(0.649693339038653, abs=1e-12)
    assert curves.average_precision(scores[:, 1], truth) == pytest.approx(0.6856209231721957, abs=1e-12)
    assert curves.average_precision(scores[:, 0], truth) == pytest.approx(0.6803366371169433, abs=1e-12)


def test_reader_study():
    rows = read("VanDyke.csv", "MRMCaov")
    modes, people, cases = (sorted({row[name] for row in rows}) for name in ("treatment", "reader", "case"))
    scores = np.empty((len(modes), len(people), len(cases)))
    truth = np.empty(len(cases), dtype=bool)
    for row in rows:
        case = cases.index(row["case"])
        scores[modes.index(row["treatment"]), people.index(row["reader"]), case] = float(row["rating"])
        truth[case] = row["truth"] in ("1", "TRUE", "True")
    found = readers.multi_reader(scores, truth, np.arange(len(cases)))
    assert found.mean_square_mode == pytest.approx(0.0047962, abs=5.1e-8)
    assert found.mean_square_mode_reader == pytest.approx(0.00055103, abs=5.1e-9)
    assert (found.f, found.degrees_of_freedom, found.p) == pytest.approx((4.48485, 15.0661, 0.051233), rel=1e-4)
    assert (found.low, found.high) == pytest.approx((-0.087867, 0.000267), abs=5.1e-7)


@pytest.mark.parametrize(
    ("forecast", "score", "miscalibration", "discrimination"),
    [
        ("EMOS", 0.2320, 0.0183, 0.0305),
        ("Logistic", 0.2057, 0.0171, 0.0555),
        ("ENS", 0.2662, 0.0661, 0.0441),
        ("EPC", 0.2343, 0.0223, 0.0323),
    ],
)
def test_decomposition_of_rain_forecasts(forecast, score, miscalibration, discrimination):
    rows = read("Niamey.csv", "reliabilitydiag")
    rain = np.array([float(row["obs"]) > 0 for row in rows])
    parts = corp.decompose(np.array([float(row[forecast]) for row in rows]), rain)
    assert parts.miscalibration == pytest.approx(miscalibration, abs=5.1e-5)
    assert parts.discrimination == pytest.approx(discrimination, abs=5.1e-5)
    assert parts.uncertainty == pytest.approx(0.2442, abs=5.1e-5)
    whole = parts.miscalibration - parts.discrimination + parts.uncertainty
    assert whole == pytest.approx(score, abs=1.1e-4)
