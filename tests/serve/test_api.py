"""The service over real HTTP: answers, refusals with codes, and what every response carries."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cxray.records import ImageRecord
from cxray.runtime.predict import Predictor
from cxray.serve.answers import BatchAnswer, FilmAnswer, ModelFacts, ProblemDocument
from cxray.serve.problems import KINDS
from tests.serve.service_fixtures import PNG, film, running


def refusal(response: httpx.Response) -> str:
    """The code of a refusal, after checking that it is a problem document with its status and request id."""
    document = ProblemDocument.model_validate(response.json())
    assert response.headers["content-type"] == "application/problem+json"
    assert document.status == response.status_code == KINDS[document.code].status
    assert document.request_id == response.headers["x-request-id"]
    assert bool(response.headers.get("retry-after")) == KINDS[document.code].is_passing
    return document.code


def test_an_answer_is_what_the_predictor_says(client: httpx.Client, bundle: Path, phantom_films: Path) -> None:
    paths = sorted((phantom_films / "test").rglob("*.png"))[:3]
    table = Predictor.open(bundle, "onnxruntime").predict([ImageRecord(path) for path in paths])
    for row, path in enumerate(paths):
        response = client.post("/api/predict", content=path.read_bytes(), headers=PNG, params={"name": path.name})
        answer = FilmAnswer.model_validate(response.json())
        assert list(answer.scores.values()) == pytest.approx(table.scores[row], abs=1e-6)
        assert (answer.predicted, answer.decision) == (table.predicted[row], table.decision[row])
        assert answer.gate.verdict == table.gate[row]
        assert answer.score == answer.scores["PNEUMONIA"]
        assert (answer.film.name, answer.film.width, answer.film.bits) == (path.name, 96, 8)


def test_raw_body_form_and_compressed_body_are_one(client: httpx.Client) -> None:
    content = film()
    ways = [
        client.post("/api/predict", content=content, headers=PNG),
        client.post("/api/predict", files={"file": ("a.png", content)}),
        client.post("/api/predict", content=gzip.compress(content), headers={**PNG, "Content-Encoding": "gzip"}),
        client.post("/api/predict", content=zlib.compress(content), headers={**PNG, "Content-Encoding": "deflate"}),
    ]
    assert [way.status_code for way in ways] == [200] * 4
    assert len({json.dumps(way.json()["scores"]) for way in ways}) == 1


def test_a_batch_keeps_order_and_one_bad_film_spoils_nothing(client: httpx.Client) -> None:
    contents = [film(seed=1), b"no film at all", film(seed=2), b""]
    files = [("file", (f"{k}.png", content)) for k, content in enumerate(contents)]
    answer = BatchAnswer.model_validate(client.post("/api/predict/batch", files=files).json())
    kinds = [type(result) for result in answer.results]
    assert kinds == [FilmAnswer, ProblemDocument, FilmAnswer, ProblemDocument]
    assert [r.code for r in answer.results if isinstance(r, ProblemDocument)] == ["unsupported_format", "empty_film"]
    assert [r.film.name for r in answer.results if isinstance(r, FilmAnswer)] == ["0.png", "2.png"]


def test_a_heat_map_adds_up_to_the_score_and_knows_where_the_film_lies(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.open(io.BytesIO(film(64))).resize((128, 64)).save(stream, "PNG")
    answer = client.post("/api/predict?heat_map=true", content=stream.getvalue(), headers=PNG).json()
    map_ = answer["heat_map"]
    assert map_["class_name"] == "PNEUMONIA"
    assert map_["maps"] == "untested" and "never tested" in map_["reason"]
    assert map_["film"] == {"left": 0, "top": 0.25, "width": 1, "height": 0.5}
    score = answer["score"]
    assert map_["log_odds"] == pytest.approx(np.log(score / (1 - score)), abs=1e-3)
    other = client.post("/api/predict?heat_map=true&class_name=NORMAL", content=film(), headers=PNG).json()["heat_map"]
    same = client.post("/api/predict?heat_map=true", content=film(), headers=PNG).json()["heat_map"]
    np.testing.assert_allclose(other["values"], -np.array(same["values"]), atol=1e-4)


def test_maps_that_failed_their_tests_are_withheld(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxray.explain import card

    withheld = card.Verdict(card.WITHHELD, "Maps are not shown. They failed: x.")
    made = card.new_card(Predictor.open(bundle, "onnxruntime").bundle.identifier, "films", [])
    monkeypatch.setattr(card.Card, "verdict", lambda *_: withheld)
    alone = Path(shutil.copytree(bundle, tmp_path / "alone"))
    card.save_card(made, alone / card.NAME)
    with running(alone) as client:
        response = client.post("/api/predict?heat_map=true", content=film(), headers=PNG)
        assert refusal(response) == "no_heat_map"
        assert response.json()["detail"] == withheld.reason
        assert client.post("/api/predict", content=film(), headers=PNG).status_code == 200


def test_no_heat_map_for_a_class_that_is_not_there(client: httpx.Client) -> None:
    response = client.post("/api/predict?heat_map=true&class_name=CATS", content=film(), headers=PNG)
    assert refusal(response) == "no_heat_map"


def test_the_viewer_gets_every_grey_value(client: httpx.Client) -> None:
    values = np.random.default_rng(3).integers(0, 65536, (40, 50)).astype(np.uint16)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    response = client.post("/api/view", content=stream.getvalue(), headers=PNG)
    facts = json.loads(response.headers["x-film"])
    assert (facts["width"], facts["height"], facts["bits"], facts["window"]) == (50, 40, 16, [0, 65535])
    assert np.array_equal(np.frombuffer(response.content, "<u2").reshape(40, 50), values)


def test_large_films_reach_the_viewer_as_block_means(bundle: Path) -> None:
    with running(bundle, limits={"view_side_pixels": 32}) as client:
        content = film(100)
        response = client.post("/api/view", content=content, headers=PNG)
        facts = json.loads(response.headers["x-film"])
        assert (facts["width"], facts["height"], facts["stored_width"]) == (25, 25, 100)
        whole = np.asarray(Image.open(io.BytesIO(content)), dtype=np.float64)
        means = whole.reshape(25, 4, 25, 4).mean(axis=(1, 3)) * 257
        assert np.abs(np.frombuffer(response.content, "<u2").reshape(25, 25) - means).max() <= 1


def small(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def bomb(side: int = 8100) -> bytes:
    """A PNG of some ten kilobytes that claims and holds side × side pixels."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side)) for _ in range(side)) + rows.flush()
    chunks = [(b"IHDR", side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_film"),
        (b"GIF89a" + bytes(200), "unsupported_format"),
        (b"PK\x03\x04" + bytes(200), "unsupported_format"),
        (b"II*\x00" + bytes(200), "unsupported_format"),
        (b"%PDF-1.7" + bytes(200), "unsupported_format"),
        (b"just text", "unsupported_format"),
        (bytes(128) + b"DICM" + bytes(50), "film_refused"),
        (film()[:-200], "damaged_film"),
        (b"\x89PNG\r\n\x1a\n", "damaged_film"),
        (b"\xff\xd8\xff" + bytes(100), "damaged_film"),
        (small(15, 15), "film_too_small"),
        (bomb(), "film_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "film",
)
def test_films_that_are_refused_say_why(client: httpx.Client, content: bytes, code: str) -> None:
    assert refusal(client.post("/api/predict", content=content, headers=PNG)) == code
    assert client.post("/api/predict", content=small(16, 16), headers=PNG).status_code == 200


def test_dicom_is_refused_by_the_reason_of_its_header(client: httpx.Client, shared: Path) -> None:
    pytest.importorskip("imagecodecs", reason="needs the extra dicom")
    ankle = (shared / "data" / "dicom" / "RG3_J2KI.dcm").read_bytes()
    response = client.post("/api/predict", content=ankle, headers={"Content-Type": "application/dicom"})
    assert refusal(response) == "film_refused"
    assert response.json()["detail"] == "Reason: body-part."
    chest = (shared / "data" / "dicom" / "RG1_J2KI.dcm").read_bytes()
    viewed = client.post("/api/view", content=chest, headers={"Content-Type": "application/dicom"})
    facts = json.loads(viewed.headers["x-film"])
    assert (facts["bits"], facts["width"], facts["window"][1]) == (15, 1841, 65535)
    assert 0 < facts["window"][0] < 32768, "the film's own window, turned over because it is MONOCHROME1"


@pytest.mark.parametrize(
    ("method", "path", "changes", "code"),
    [
        ("GET", "/api/nothing", {}, "not_found"),
        ("GET", "/assets/../settings.py", {}, "not_found"),
        ("GET", "/assets/..%2f..%2fsettings.py", {}, "not_found"),
        ("GET", "/api/samples/..%2f..%2fmanifest.json", {}, "not_found"),
        ("GET", "/api/predict", {}, "method_not_allowed"),
        ("POST", "/api/predict?model=other", {"content": b"x"}, "unknown_model"),
        ("GET", "/api/models/other", {}, "unknown_model"),
        ("POST", "/api/predict?heat_map=perhaps", {"content": b"x"}, "bad_request"),
        ("POST", "/api/predict", {}, "no_film"),
        ("POST", "/api/predict", {"data": {"file": "text"}, "files": {"other": b"x"}}, "no_film"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Content-Type": "text/html"}}, "unsupported_format"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Content-Encoding": "br"}}, "unsupported_encoding"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Content-Encoding": "gzip"}}, "bad_request"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"X-Deadline-Seconds": "soon"}}, "bad_deadline"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"X-Deadline-Seconds": "0"}}, "bad_deadline"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"X-Deadline-Seconds": "nan"}}, "bad_deadline"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "bad_request"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Host": "evil.example"}}, "host_not_allowed"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Origin": "https://evil.example"}}, "cross_site"),
        ("POST", "/api/predict", {"content": b"x", "headers": {"Sec-Fetch-Site": "cross-site"}}, "cross_site"),
        ("POST", "/api/predict/batch", {"files": [("file", b"x")] * 33}, "too_many_films"),
    ],
)
def test_requests_that_are_refused_say_why(
    client: httpx.Client, method: str, path: str, changes: dict[str, object], code: str
) -> None:
    assert refusal(client.request(method, path, **changes)) == code  # type: ignore[arg-type]


def test_a_deadline_is_kept(client: httpx.Client) -> None:
    headers = {**PNG, "X-Deadline-Seconds": "0.0001"}
    assert refusal(client.post("/api/predict", content=film(), headers=headers)) == "deadline_exceeded"


def test_uploads_are_bounded_declared_and_chunked_and_inflated(bundle: Path) -> None:
    with running(bundle, limits={"upload_bytes": 100_000}) as client:

        def pieces() -> object:
            yield from [bytes(10_000)] * 30

        assert refusal(client.post("/api/predict", content=bytes(100_001), headers=PNG)) == "upload_too_large"
        assert refusal(client.post("/api/predict", content=pieces(), headers=PNG)) == "upload_too_large"  # type: ignore[arg-type]
        packed = gzip.compress(bytes(10_000_000))
        headers = {**PNG, "Content-Encoding": "gzip"}
        assert refusal(client.post("/api/predict", content=packed, headers=headers)) == "upload_too_large"
        assert refusal(client.post("/api/predict", content=bytes(100_000), headers=PNG)) == "unsupported_format"
        assert client.service.admission.films == client.service.admission.bytes == 0  # type: ignore[attr-defined]


def test_a_token_guards_everything_but_health_and_the_page_itself(bundle: Path) -> None:
    token = "a-token-of-24-characters"
    with running(bundle, token=token) as client:
        for path in ("/api/models", "/metrics", "/openapi.json", "/v2", "/api/models/tiny/report", "/api/samples"):
            response = client.get(path)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"].startswith("Bearer")
        for wrong in (token[:-1], token + "x", token.upper(), "é" * 24):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            assert client.get("/api/models", headers=headers).status_code == 401
        assert client.get("/api/models", headers={"Authorization": f"Basic {token}"}).status_code == 401
        assert client.get("/api/models", headers={"Authorization": f"bearer {token}"}).status_code == 200
        for path in ("/", "/assets/main.js", "/api/live", "/api/ready", "/v2/health/ready", "/favicon.ico"):
            assert client.get(path).status_code == 200, path
        schema = client.get("/openapi.json", headers={"Authorization": f"Bearer {token}"}).json()
        assert schema["security"] == [{"token": []}]


def test_every_response_is_armoured(client: httpx.Client) -> None:
    for path in ("/", "/assets/main.js", "/api/models", "/api/nothing", "/metrics"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers and "access-control-allow-origin" not in headers


def test_a_request_id_is_kept_when_it_is_one(client: httpx.Client) -> None:
    assert client.get("/api/live", headers={"X-Request-ID": "abc.DEF-1_2"}).headers["x-request-id"] == "abc.DEF-1_2"
    for bad in ("x" * 65, "new line", "<script>"):
        assert re.fullmatch(
            "[0-9a-f]{32}", client.get("/api/live", headers={"X-Request-ID": bad}).headers["x-request-id"]
        )


def test_models_evidence_report_and_samples(client: httpx.Client, bundle: Path) -> None:
    (listed,) = client.get("/api/models").json()
    model = ModelFacts.model_validate(listed)
    assert (model.name, model.state, model.is_default, model.positive) == ("tiny", "ready", True, "PNEUMONIA")
    evidence = client.get(model.links["evidence"]).json()
    threshold = model.thresholds["PNEUMONIA"]
    assert evidence["n_positive"] == threshold["n_positive"] and evidence["n_negative"] == threshold["n_negative"]
    assert evidence["above_positive"][0] == evidence["n_positive"] and len(evidence["thresholds"]) == 201
    assert sum(evidence["histogram_negative"]) == evidence["n_negative"]
    report = client.get(model.links["report"])
    assert report.text == (bundle.parent / "report.html").read_text("utf-8")
    assert report.headers["content-security-policy"].startswith("sandbox ")
    assert refusal(client.get("/api/models/tiny/card")) == "no_report", "cxray card was not run"
    names = client.get("/api/samples").json()
    assert 0 < len(names) <= 16
    answer = client.post("/api/predict", content=client.get(f"/api/samples/{names[0]}").content, headers=PNG)
    assert answer.status_code == 200


def test_a_bundle_without_its_run_has_neither_evidence_nor_report(bundle: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(bundle, tmp_path / "alone"))
    with running(alone) as client:
        assert client.get("/api/models/tiny/evidence").json() is None
        assert refusal(client.get("/api/models/tiny/report")) == "no_report"


def test_metrics_count_what_happened_and_name_no_film(client: httpx.Client) -> None:
    before = client.get("/metrics").text
    for content in (film(), b"secret-name"):
        client.post("/api/predict", content=content, headers=PNG, params={"name": "secret-name.png"})
    text = client.get("/metrics").text

    def value(source: str, line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", source, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    for line in (
        'cxray_requests_total{code="",route="/api/predict",status="200"}',
        'cxray_requests_total{code="unsupported_format",route="/api/predict",status="415"}',
        'cxray_score_count{model="tiny"}',
        'cxray_stage_seconds_count{stage="decode"}',
    ):
        assert value(text, line) == value(before, line) + 1, line
    assert value(text, 'cxray_model_ready{model="tiny"}') == 1
    assert value(text, "cxray_films_under_way") == 0
    assert "secret" not in text


def test_the_description_is_complete(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert "/api/predict" in schema["paths"] and "/v2/models/{name}/infer" in schema["paths"]
    examples = {name: part["example"] for name, part in schema["components"]["schemas"].items() if "example" in part}
    FilmAnswer.model_validate(examples["FilmAnswer"])
    ProblemDocument.model_validate(examples["ProblemDocument"])
    assert "HTTPValidationError" not in json.dumps(schema)


def test_nothing_of_a_film_stays_in_temporary_files(client: httpx.Client, tmp_path: Path) -> None:
    import tempfile

    def files() -> set[str]:
        return {path.name for path in Path(tempfile.gettempdir()).iterdir() if path.is_file()}

    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    before = files()
    assert len(stream.getvalue()) > 2**20, "larger than the limit at which form parsers spill to disk"
    assert client.post("/api/predict", files={"file": ("a.png", stream.getvalue())}).status_code == 200
    assert not {name for name in files() - before if name.startswith("tmp")}
