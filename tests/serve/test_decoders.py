"""Decoding children: the same pixels as at home, and nothing that a hostile film does reaches the service."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxray.config import InputCard
from cxray.data.decode import decode_bytes
from cxray.data.prepare import fitted_box, prepare
from cxray.serve import wire
from cxray.serve.decoders import DecoderPool, _reason
from cxray.serve.problems import Problem
from tests.serve.service_fixtures import film

CARD = InputCard(64, 48)
MEMORY = 2 * 2**30


def with_pool(work: Callable[[DecoderPool], Awaitable[Any]], **changes: Any) -> Any:
    async def run() -> Any:
        pool = DecoderPool(**{"count": 1, "seconds": 20.0, "memory_bytes": MEMORY, **changes})
        await pool.start()
        try:
            return await work(pool)
        finally:
            await pool.stop()

    return asyncio.run(run())


async def code_of(pool: DecoderPool, content: bytes) -> str:
    try:
        await pool.decode(content, CARD)
    except Problem as problem:
        return problem.code
    return "decoded"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_child_prepares_films_as_everybody_does(kind: str) -> None:
    content = film(200, kind=kind)
    image = decode_bytes(content, at_least=64)
    found = with_pool(lambda pool: pool.decode(content, CARD, view_side=4096))
    assert found.film is not None
    assert np.array_equal(found.film, prepare(image, CARD))
    assert found.place == fitted_box(image, CARD)
    assert (found.kind, found.width, found.height, found.bits) == (kind.lower(), 200, 200, 8)
    whole = np.asarray(Image.open(io.BytesIO(content)), dtype=np.uint16) * 257
    assert np.array_equal(np.frombuffer(found.view, "<u2").reshape(200, 200), whole)


def test_a_film_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    async def work(pool: DecoderPool) -> list[str]:
        pool._seconds = 0.0001
        codes = [await code_of(pool, film(2000))]
        pool._seconds = 20.0
        return [*codes, await code_of(pool, film()), str(pool.restarts)]

    assert with_pool(work) == ["decode_timeout", "decoded", "1"]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS ignores the limit on address space")
def test_a_film_that_needs_too_much_memory_is_refused_by_the_limit() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(stream, "PNG", compress_level=1)

    async def work(pool: DecoderPool) -> list[str]:
        return [await code_of(pool, stream.getvalue()), await code_of(pool, film())]

    assert with_pool(work, memory_bytes=400 * 2**20) == ["film_too_large", "decoded"]


def test_a_child_that_dies_costs_one_film() -> None:
    async def work(pool: DecoderPool) -> list[str]:
        waiting = asyncio.create_task(code_of(pool, film(3000)))
        await asyncio.sleep(0.02)
        for process_id in pool.process_ids:
            os.kill(process_id, signal.SIGKILL)
        return [await waiting, await code_of(pool, film()), str(len(pool.process_ids))]

    assert with_pool(work) == ["decoder_crashed", "decoded", "1"]


def test_a_start_that_is_given_up_leaves_no_child() -> None:
    async def begin_and_give_up() -> list[int]:
        pool = DecoderPool(count=2, seconds=20.0, memory_bytes=MEMORY)
        starting = asyncio.create_task(pool.start())
        while len(pool.process_ids) < 2:
            await asyncio.sleep(0)
        begun = pool.process_ids
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        # At once: whoever gave up ends the loop next, and nobody would wait for them any more.
        assert [child for child in begun if Path(f"/proc/{child}").exists()] == []
        await pool.stop()
        return begun

    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    assert len(asyncio.run(begin_and_give_up())) == 2


def test_a_caller_who_leaves_costs_no_child() -> None:
    async def work(pool: DecoderPool) -> tuple[list[int], list[int], str]:
        before = pool.process_ids
        leaving = asyncio.create_task(pool.decode(film(2000), CARD))
        await asyncio.sleep(0.01)
        leaving.cancel()
        return before, pool.process_ids, await code_of(pool, film())

    before, after, code = with_pool(work)
    assert before == after and code == "decoded"


def test_children_know_no_secrets_and_no_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRAY_TOKEN", "a-token-of-24-characters")

    async def work(pool: DecoderPool) -> tuple[bytes, str]:
        (process_id,) = pool.process_ids
        proc = Path(f"/proc/{process_id}")
        return (proc / "environ").read_bytes(), (proc / "limits").read_text("utf-8")

    if not Path("/proc/self/limits").exists():
        pytest.skip("needs /proc")
    environment, limits = with_pool(work)
    assert b"token" not in environment.lower()
    rows = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert (rows["Max file size"], rows["Max core file size"], rows["Max address space"]) == ("0", "0", str(MEMORY))


def mutants(content: bytes, count: int, seed: int) -> list[bytes]:
    """`count` damaged versions of a film: flipped, cut, repeated and overwritten bytes."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        data = bytearray(content)
        for _ in range(int(random.integers(1, 12))):
            place = int(random.integers(0, len(data)))
            data[place] = int(random.integers(0, 256))
        if random.random() < 0.2:
            data = data[: int(random.integers(1, len(data)))]
        if random.random() < 0.1:
            cut = int(random.integers(0, len(data)))
            data[cut:cut] = random.bytes(int(random.integers(1, 200)))
        made.append(bytes(data))
    return made


def dicom_film() -> bytes:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.3", ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Modality, data.BodyPartExamined, data.PresentationIntentType = "DX", "CHEST", "FOR PRESENTATION"
    data.Rows = data.Columns = 256
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    values = np.random.default_rng(0).integers(0, 4096, (256, 256)).astype("<u2")
    data.add_new("PixelData", "OW", values.tobytes())
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def test_two_thousand_damaged_films_stop_nothing() -> None:
    films = [*mutants(film(64), 700, 1), *mutants(film(64, kind="JPEG"), 700, 2), *mutants(dicom_film(), 600, 3)]

    async def work(pool: DecoderPool) -> tuple[list[str], int]:
        codes = await asyncio.gather(*(code_of(pool, content) for content in films))
        return [*codes, await code_of(pool, film())], pool.restarts

    codes, restarts = with_pool(work, count=2)
    assert len(codes) == 2001 and codes[-1] == "decoded"
    assert restarts == 0, "no decoder crashed or ran out of time"
    known = {"decoded", "damaged_film", "unsupported_format", "film_too_large", "film_too_small", "film_refused"}
    assert set(codes) <= known, sorted(set(codes) - known)
    assert codes.count("damaged_film") > 300 and codes.count("decoded") > 100


def test_what_a_child_claims_is_not_believed() -> None:
    with pytest.raises(wire.BrokenFrame, match="a frame of"):
        wire.unpack_lengths(wire.LENGTHS.pack(1, wire.MAXIMUM_PAYLOAD_BYTES + 1))
    assert wire.unpack_lengths(wire.LENGTHS.pack(2, wire.MAXIMUM_PAYLOAD_BYTES)) == (2, wire.MAXIMUM_PAYLOAD_BYTES)
    for header, words in ((b"[1]", "no object"), (b"\xff", "no JSON")):
        with pytest.raises(wire.BrokenFrame, match=words):
            wire.unpack_header(header)
    assert _reason("lateral-view") == "Reason: lateral-view."
    assert [_reason(claim) for claim in ("DOE^JOHN", "x" * 42, 7, "a b", "")] == [""] * 5
