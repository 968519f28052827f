"""Finding codes: the bundle's, the user's table, or our own scheme, and never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxray.bundle import load_bundle
from cxray.errors import ConfigError
from cxray.pacs.codes import FindingCode, finding_codes
from tests.pacs.bundles import write_bundle

ILL = {"value": "39607008", "scheme": "SCT", "meaning": "Something ill"}


def test_without_a_table_every_finding_gets_a_code_of_our_own(bundle: Path) -> None:
    codes = finding_codes(load_bundle(bundle))
    assert dict(codes.codes) == {"ILL": FindingCode("ILL", "99CXRAY", "ILL")}
    assert codes.private == ("ILL",)


def test_a_table_names_classes_in_any_spelling(bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "codes.toml"
    table.write_text('[ill]\nvalue = "39607008"\nscheme = "SCT"\nmeaning = "Something ill"\n')
    codes = finding_codes(load_bundle(bundle), table)
    assert codes.codes["ILL"] == FindingCode(**ILL)
    assert codes.private == ()


def test_the_codes_of_the_bundle_come_first(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", finding_codes={"ILL": ILL})
    codes = finding_codes(load_bundle(folder), "chest")
    assert codes.codes["ILL"].value == "39607008"
    assert codes.source == "the bundle"


def test_other_codes_are_other_results(bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "codes.toml"
    table.write_text('[ill]\nvalue = "39607008"\nscheme = "SCT"\nmeaning = "Something ill"\n')
    loaded = load_bundle(bundle)
    assert finding_codes(loaded).fingerprint != finding_codes(loaded, table).fingerprint


def test_of_two_classes_the_other_one_is_no_finding_and_of_many_the_table_says_so(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", classes=["Normal", "Edema", "Mass"], positive="Edema", thresholds={})
    codes = finding_codes(load_bundle(folder), "chest")
    assert list(codes.codes) == ["Edema", "Mass"]
    assert codes.codes["Edema"] == FindingCode("19242006", "SCT", "Pulmonary edema")


def test_the_delivered_table_is_whole_and_agrees_with_the_dictionary(tmp_path: Path) -> None:
    from pydicom.sr.codedict import codes as dictionary

    names = ["Pneumothorax", "PleuralEffusion", "Cardiomegaly", "Nodule", "Mass"]
    folder = write_bundle(
        tmp_path / "b", classes=["Pneumothorax", "Pleural Effusion", "Cardiomegaly", "nodule", "MASS"]
    )
    found = finding_codes(load_bundle(folder), "chest")
    for name, code in zip(names, found.codes.values(), strict=True):
        assert code.value == getattr(dictionary.SCT, name).value, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml [", "cannot be read"),
        ('[ILL]\nvalue = "1"\n', "lacks scheme, meaning"),
        ('[ILL]\nvalue = ""\nscheme = "SCT"\nmeaning = "x"\n', "1 to 16 characters, got ''"),
        ('[ILL]\nvalue = "1"\nscheme = "SCT"\nmeaning = "x"\ncolour = "red"\n', "got colour"),
        ("ILL = 3\n", "got 3"),
        ("[ILL]\nfinding = false\n", "nothing to report"),
        (f'[ILL]\nvalue = "1"\nscheme = "SCT"\nmeaning = "{"x" * 65}"\n', "1 to 64 characters"),
    ],
)
def test_a_wrong_table_is_named_with_what_is_wrong(bundle: Path, tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "codes.toml"
    table.write_text(text)
    with pytest.raises(ConfigError, match=message):
        finding_codes(load_bundle(bundle), table)


def test_a_table_that_does_not_exist_is_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        finding_codes(load_bundle(bundle), tmp_path / "none.toml")


def test_a_long_class_name_gets_a_short_code_value(tmp_path: Path) -> None:
    name = "An opacity whose name is far too long for a code value " + "x" * 20
    folder = write_bundle(tmp_path / "b", classes=["WELL", name], positive=name, thresholds={})
    code = finding_codes(load_bundle(folder)).codes[name]
    assert len(code.value) == 16
    assert code.meaning == name[:64]
