"""Names that fight back."""

import pytest

from cxray.report.text import clip, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("film.jpeg", "film.jpeg"),
        ("a\x00b\x1bc", "a\ufffdb\ufffdc"),
        ("a\u202egnp.exe", "a\ufffdgnp.exe"),
        ("bad \udcff byte", "bad \ufffd byte"),
        ("التهاب", "التهاب"),
    ],
)
def test_control_characters_become_visible(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")


@pytest.mark.parametrize(("length", "shown"), [(10, "0123456789"), (9, "0123…6789"), (8, "012…6789")])
def test_the_middle_of_a_long_name_gives_way(length, shown):
    assert clip("0123456789", length) == shown
    assert len(shown) == length
