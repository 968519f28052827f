import dataclasses

import numpy as np

from cxray.data.audit.labels import check_labels, outlines
from cxray.data.audit.scan import Scan
from cxray.data.audit.shortcuts import targets_of
from tests.data.audit.conftest import relabel, scan_of, two_classes


def easy_scan() -> Scan:
    """Ill films have a lung field as bright again: a probe can tell them nearly always."""
    scan = scan_of(two_classes(600, test_share=0.2))
    thumbnails = scan.thumbnails.astype(np.float64) * 0.4
    thumbnails[scan.label == "PNEUMONIA", 8:24, 8:24] += 100
    return dataclasses.replace(scan, thumbnails=thumbnails.astype(np.uint8))


def suspects(scan: Scan):
    return check_labels(scan, targets_of(scan), 0)


def test_right_labels_raise_no_suspicion():
    findings, table = suspects(easy_scan())
    assert findings == []
    assert len(table["path"]) == 0


def test_flipped_labels_are_listed_and_test_films_are_not():
    scan = easy_scan()
    label = np.array(scan.label)
    train, test = np.flatnonzero(scan.split == "train"), np.flatnonzero(scan.split == "test")
    flipped = [*train[:12], *test[:5]]
    label[flipped] = np.where(label[flipped] == "NORMAL", "PNEUMONIA", "NORMAL")
    findings, table = suspects(relabel(scan, label=label))
    assert [(finding.code, finding.severity) for finding in findings] == [("label-suspect", "info")]
    listed = set(findings[0].files)
    caught = set(scan.names(train[:12])) & listed
    assert len(caught) >= 8  # most of twelve, and hardly anybody else is accused
    assert len(listed - caught) <= 2
    assert not any(name.startswith("test/") for name in listed)
    assert list(table["probability_of_label"]) == sorted(table["probability_of_label"])


def test_a_probe_that_knows_nothing_accuses_nobody():
    findings, _ = suspects(scan_of(two_classes(300)))
    assert findings == []


def test_outlines_tell_where_and_in_which_direction_grey_changes():
    films = np.full((2, 32, 32), 50, dtype=np.uint8)
    films[0, :, 2] = 250  # an upright line far left: grey changes across it
    films[1, 29, :] = 250  # a level line at the foot
    upright, level = outlines(films).reshape(2, 8, 8, 4)
    assert upright[:, 0, 1].min() > 2 and upright[:, :, 0].max() == 0
    assert level[7, :, 0].min() > 2 and level[:, :, 1].max() == 0
    assert np.count_nonzero(upright[:, 1:]) == 0 and np.count_nonzero(level[:7]) == 0
    np.testing.assert_allclose((upright**2).mean(), 1, rtol=1e-5)


def test_outlines_do_not_mind_exposure_and_bear_a_blank_film():
    film = np.random.default_rng(3).integers(40, 80, size=(1, 32, 32)).astype(np.uint8)
    np.testing.assert_allclose(outlines(film), outlines(film * 2 + 10), rtol=1e-5)
    assert not outlines(np.zeros((1, 32, 32), dtype=np.uint8)).any()
