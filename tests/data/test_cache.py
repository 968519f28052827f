"""The cache: a hit equals a miss, two processes agree, trouble costs speed and never films."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxray.config import InputCard
from cxray.data import cache
from cxray.data.cache import cache_folder, clear_cache, decode_all, measure_cache, prepare_all
from cxray.records import ImageRecord
from tests.conftest import draw

CARD = InputCard(32, 32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    return [ImageRecord(draw(tmp_path / f"{n}.png", seed=n, side=48)) for n in range(8)]


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    original = cache.prepare_file

    def counted(path: Path, card: InputCard) -> np.ndarray:
        seen.append(path)
        return original(path, card)

    monkeypatch.setattr(cache, "prepare_file", counted)
    return seen


def test_a_hit_equals_a_miss_byte_for_byte(records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    decodes = count_decodes(monkeypatch)
    indices = np.arange(8)
    miss = prepare_all(records, CARD).take(indices).tobytes()
    assert len(decodes) == 8
    hit = prepare_all(records, CARD)
    assert isinstance(hit.films, np.memmap)
    assert hit.take(indices).tobytes() == miss
    assert len(decodes) == 8
    fresh = np.stack([film for film in decode_all(records, CARD) if not isinstance(film, str)])
    assert fresh.tobytes() == miss


def test_the_key_is_the_content_and_the_card(records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_all(records, CARD)
    decodes = count_decodes(monkeypatch)
    renamed = ImageRecord(records[0].path.rename(records[0].path.with_name("renamed.png")))
    prepare_all([renamed, *records[1:]], CARD)
    assert decodes == []
    draw(records[3].path, seed=99, side=48)
    prepare_all([renamed, *records[1:]], CARD)
    assert decodes == [records[3].path]
    prepare_all(records[4:], InputCard(32, 32, fit="stretch"))
    assert len(decodes) == 5


def test_unreadable_films_are_listed_and_the_others_kept(records: list[ImageRecord], tmp_path: Path) -> None:
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no film")
    mixed = [
        ImageRecord(tmp_path / "zero.png"),
        *records,
        ImageRecord(tmp_path / "text.png"),
        ImageRecord(Path("gone")),
    ]
    for _ in range(2):
        prepared = prepare_all(mixed, CARD)
        assert sorted(prepared.errors) == [0, 9, 10]
        assert "is empty (0 bytes)" in prepared.errors[0]
        assert "plain text" in prepared.errors[9]
        assert "gone cannot be read" in prepared.errors[10]
        np.testing.assert_array_equal(prepared.take(np.arange(1, 9)), prepare_all(records, CARD).take(np.arange(8)))


def test_two_processes_build_the_same_array_at_once(records: list[ImageRecord], tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cxray.config import InputCard\n"
        "from cxray.records import ImageRecord\n"
        "from cxray.data.cache import prepare_all; import hashlib, numpy as np\n"
        "records = [ImageRecord(Path(name)) for name in sys.argv[1:]]\n"
        "films = prepare_all(records, InputCard(32, 32)).take(np.arange(len(records)))\n"
        "print(hashlib.sha256(films.tobytes()).hexdigest())\n"
    )
    command = [sys.executable, "-c", script, *(str(record.path) for record in records)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert len(answers) == 1 and all(process.returncode == 0 for process in running)
    assert not list(cache_folder().glob("*/*.part"))


def test_a_cache_that_cannot_be_written_costs_only_memory(
    records: list[ImageRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    prepared = prepare_all(records, CARD, tmp_path / "file")
    np.testing.assert_array_equal(prepared.take(np.arange(8)), prepare_all(records, CARD).take(np.arange(8)))
    assert "the cache cannot be used, films stay in memory" in capsys.readouterr().err


def test_another_order_of_the_same_films_is_the_same_entry(records: list[ImageRecord]) -> None:
    expected = prepare_all(records, CARD).take(np.arange(8)).copy()
    mirrored = prepare_all(records[::-1], CARD)
    np.testing.assert_array_equal(mirrored.take(np.arange(8)), expected[::-1])


def test_an_array_without_its_listing_is_never_paired_with_another(records: list[ImageRecord]) -> None:
    expected = prepare_all(records, CARD).take(np.arange(8)).copy()
    (listing,) = cache_folder().glob("*/*.json")
    kept = listing.read_bytes()
    listing.unlink()
    prepare_all(records[::-1], CARD)  # a second process that lists the rows in another order
    listing.write_bytes(kept)  # and the first one's listing arrives last
    np.testing.assert_array_equal(prepare_all(records, CARD).take(np.arange(8)), expected)


def test_clearing_touches_nobody_elses_files(records: list[ImageRecord]) -> None:
    prepare_all(records, CARD)
    project = cache_folder() / "project"
    project.mkdir()
    for name in ("package.json", "thesis.tex", "data.npy"):
        (project / name).write_text("mine")
    clear_cache()
    assert {path.name for path in cache_folder().rglob("*")} == {"project", "package.json", "thesis.tex", "data.npy"}


def test_a_damaged_entry_is_rebuilt(records: list[ImageRecord]) -> None:
    expected = prepare_all(records, CARD).take(np.arange(8)).copy()
    for path in cache_folder().glob("*/*.npy"):
        path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(prepare_all(records, CARD).take(np.arange(8)), expected)


def test_clearing(records: list[ImageRecord]) -> None:
    prepare_all(records, CARD)
    files, size = measure_cache()
    assert files == 2 and size > 8 * 32 * 32
    assert clear_cache() == (files, size)
    assert measure_cache() == (0, 0)
