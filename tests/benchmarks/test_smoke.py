from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from pydicom import dcmread

from benchmarks.generate import PLANTED, csa_header, write_set
from benchmarks.measure import ratios, run, spread
from benchmarks.report import BARS, Measurement, Outcome, planted_left, text, verdict
from fiona_dagster.domain.siemens_csa import parse

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "deidentify.py"
EXPECTED_FILES = {"ct": 3, "mr": 4, "mf": 1, "rle": 2}


def measurement(
    tool: str, cpu: float, *, number: int = 1, rss: int = 10**6, problem: str = ""
) -> Measurement:
    return Measurement(tool, "ct", number, 10, 10, 10**6, cpu, cpu, rss, problem, [], tool.startswith("ours"))


def outcome(*measurements: Measurement) -> Outcome:
    names = dict.fromkeys(one.tool for one in measurements)
    return Outcome(
        "tiny", 1, "machine", dict.fromkeys(names, ""), dict.fromkeys(names, "does"), {}, [*measurements]
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for name in EXPECTED_FILES:
        write_set(folder, name, "tiny")
    return folder


def test_the_script_measures_ours_against_a_copy_without_any_peer(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        str(SCRIPT),
        "--folder",
        str(tmp_path / "work"),
        "--sizes",
        "tiny",
        "--rounds",
        "1",
    ]
    chosen = ["--only", "ours verified,cp", "--sets", "mr", "--json", str(figures)]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    measured = [one for one in found["measurements"] if one["set"] == "mr"]
    assert [(one["tool"], one["files"], one["problem"]) for one in measured] == [
        ("ours verified", EXPECTED_FILES["mr"], ""),
        ("cp", EXPECTED_FILES["mr"], ""),
    ]
    assert all(one["cpu"] > 0 and one["wall"] > 0 and one["rss"] > 10**6 for one in measured)
    assert measured[0]["left"] == []
    assert measured[1]["left"] == list(PLANTED)
    assert "| ours verified |" in done.stdout
    assert not list((tmp_path / "work").glob("run-*"))


@pytest.mark.parametrize("name", EXPECTED_FILES)
def test_generated_headers_are_of_a_scanner_s_size_differ_and_hold_what_is_planted(
    sets: Path, name: str
) -> None:
    files = sorted((sets / name).iterdir())
    assert len(files) == EXPECTED_FILES[name]
    lines = [line.split() for line in (sets / f"{name}.index").read_text().splitlines()]
    images = [dcmread(path) for path in files]
    assert [(path.name, str(image.SOPInstanceUID)) for path, image in zip(files, images, strict=True)] == [
        (file, uid) for file, uid in lines
    ]
    for path, image in zip(files, images, strict=True):
        assert 120 <= len(image) <= 200
        assert [element for element in image if element.tag.is_private]
        assert planted_left(path) == list(PLANTED)
    for keyword in ("SOPInstanceUID", "InstanceNumber", "AcquisitionTime"):
        assert len({str(image[keyword].value) for image in images}) == len(images)


def test_what_is_left_is_found_across_the_pieces_that_a_copy_is_read_in(tmp_path: Path) -> None:
    name = PLANTED["PatientName"]
    for offset in ((1 << 20) - 3, (1 << 21) - 1):
        (tmp_path / "copy").write_bytes(bytes(offset) + name + bytes(1 << 20))
        assert planted_left(tmp_path / "copy") == ["PatientName"]


def test_a_set_generated_twice_has_the_same_bytes(sets: Path, tmp_path: Path) -> None:
    write_set(tmp_path, "mr", "tiny")
    for path in (tmp_path / "mr").iterdir():
        assert path.read_bytes() == (sets / "mr" / path.name).read_bytes()


def test_the_csa_headers_are_read_by_our_own_reader() -> None:
    header = csa_header(Random(1), 10240)
    found = parse(header)
    assert len(header) == 10240
    assert found["PatientOrientation"] == ["Breidablikk"]
    assert len(found["MosaicRefAcqTimes"]) == 36


def test_the_enhanced_image_has_all_its_frames(sets: Path) -> None:
    (path,) = (sets / "mf").iterdir()
    image = dcmread(path)
    assert len(image.PerFrameFunctionalGroupsSequence) == image.NumberOfFrames == 3
    assert len(image.PixelData) == 3 * 512 * 512 * 2


def test_compressed_images_decode_to_the_uncompressed_ones(sets: Path) -> None:
    compressed, plain = (dcmread(sets / name / "IM000001.dcm") for name in ("rle", "ct"))
    assert compressed.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"
    assert (compressed.pixel_array == plain.pixel_array).all()


def test_a_run_counts_children_and_their_memory(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(96 << 20)'])"
    done = run([sys.executable, "-c", program], tmp_path, limit=60)
    assert done.status == 0
    assert done.rss > 96 << 20


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", "import signal; signal.pause()"], tmp_path, limit=0.2)
    assert done.status == -9


def test_ratios_are_taken_round_by_round() -> None:
    found = spread(ratios({1: 10.0, 2: 30.0, 3: 5.0}, {1: 1.0, 2: 10.0}))
    assert found is not None
    assert (found.median, found.low, found.high) == (6.5, 3.0, 10.0)
    assert found.text(1) == "6.5 [3.0-10.0]"


def test_bars_are_judged_by_every_set() -> None:
    speed, memory = BARS[0], BARS[3]
    assert verdict(speed, [10.0, 11.0]) == "PASS"
    assert verdict(speed, [10.0, 9.9]) == "FAIL"
    assert verdict(speed, [12.0, None]) == "OPEN"
    assert verdict(memory, [99.0]) == "PASS"
    assert verdict(memory, [101.0]) == "FAIL"


def test_a_failed_round_gives_no_figure_and_is_told() -> None:
    good, bad = measurement("dicognito", 10), measurement("ours engine", 1, problem="2 copies of 10 files")
    told = text(outcome(good, bad))
    assert "| ours engine | failed, see below |" in told
    assert "ours engine failed on ct: 2 copies of 10 files" in told
    assert "OPEN ours engine: at least 10 x dicognito per core: not measured" in told


def test_what_a_further_image_costs_is_told_beside_what_contains_the_start() -> None:
    ours, theirs = measurement("ours engine", 2), measurement("dicognito", 11)
    starts = [replace(one, set="one", count=0, cpu=1.0) for one in (ours, theirs)]
    parts = [
        replace(one, set="ct-part", count=2, files=2, cpu=cpu) for one, cpu in ((ours, 1.2), (theirs, 3))
    ]
    told = text(outcome(*starts, *parts, ours, theirs))
    assert "FAIL ours engine: at least 10 x dicognito per core: ct 5.5 (10.0)" in told
    assert "| ours engine | 1.00 |" in told
    assert "| ours engine | 5.00 | 200.00 | 100.00 |" in told
    assert "| dicognito | 0.91 | 1100.00 | 1000.00 |" in told


def test_nothing_is_told_of_a_further_image_where_the_start_is_most_of_a_run() -> None:
    ours, theirs = measurement("ours engine", 2), measurement("dicognito", 11)
    parts = [replace(one, set="ct-part", count=2, cpu=one.cpu - 0.1) for one in (ours, theirs)]
    assert "ct 5.5 (?)" in text(outcome(*parts, ours, theirs))


def test_what_hashing_alone_would_reach_is_told_beside_the_bars() -> None:
    told = text(outcome(measurement("SHA-256 alone", 4), measurement("dicognito", 11)))
    assert "- Lower bound: one SHA-256 of every byte, and nothing else, is x dicognito: ct 2.8" in told


@pytest.mark.parametrize("path", sorted(SCRIPT.parent.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_finds_its_neighbours_however_it_is_started(path: Path) -> None:
    source = path.read_text()
    if "__main__" in source and "\nfrom benchmarks." in source:
        begin = source.index("\nfrom benchmarks.")
        assert "sys.path.insert(0, " in source[:begin]
