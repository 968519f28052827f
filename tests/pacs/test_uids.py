"""Derived UIDs: the same for the same parts, different for any other, always of the standard's grammar."""

from __future__ import annotations

import pytest

from cxray.pacs.uids import derive_uid, is_uid


def test_the_same_parts_give_the_same_uid_and_any_other_part_another() -> None:
    base = derive_uid("1.2.3", "model", "sr")
    assert base == derive_uid("1.2.3", "model", "sr")
    others = [
        derive_uid("1.2.4", "model", "sr"),
        derive_uid("1.2.3", "modem", "sr"),
        derive_uid("1.2.3", "model", "sc"),
    ]
    # Where one part ends and the next begins counts too.
    others += [derive_uid("1.2.3model", "", "sr"), derive_uid("1.2.3", "models", "r")]
    assert len({base, *others}) == 6


def test_a_derived_uid_is_a_uuid_of_free_form() -> None:
    uid = derive_uid("1.2.3", "model", "sr")
    number = int(uid.removeprefix("2.25."))
    assert is_uid(uid)
    assert number < 2**128
    assert (number >> 76) & 0xF == 8  # version
    assert (number >> 62) & 0b11 == 0b10  # variant


@pytest.mark.parametrize("text", ["1.2", "1.2.840.10008.1.1", "2.25.0", "1." + "2" * 62])
def test_uids_of_the_standard_are_taken(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.", ".1", "1..2", "1.02", "1.2 ", "1.2\n", "a.b", "../../etc/passwd", "1." + "2" * 63],
)
def test_anything_else_is_no_uid(text: str) -> None:
    assert not is_uid(text)
