"""The catalogue: what its files say, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdiag.catalogue.parts import FOLDER, catalogue, find_part, part_of, read_part, sourced_values
from hwdiag.core.errors import UsageError
from hwdiag.record import store
from hwdiag.record.tuning import tuning

ROOT = Path(__file__).parents[2]
GOOD = (FOLDER / "xeon-8490h.yaml").read_text()


def changed(tmp_path: Path, **changes: Any) -> Path:
    """The 8490H's file with other values; a key ``a.b`` is one inside, None takes it away."""
    values = yaml.safe_load(GOOD)
    for key, value in changes.items():
        *above, last = key.split("__")
        inner = values
        for step in above:
            inner = inner[int(step)] if step.isdigit() else inner[step]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    path = tmp_path / "part.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


PEOPLE_OWN = {
    "ryzen-5950x", "ryzen-7950x", "ryzen-9950x", "core-i9-9900k", "core-i9-13900k", "core-i9-14900k",
    "core-ultra-9-285k", "core-ultra-7-265k", "threadripper-3970x", "threadripper-3990x",
    "threadripper-pro-5995wx", "threadripper-7970x", "threadripper-7980x", "threadripper-pro-7995wx",
    "threadripper-9970x", "threadripper-9980x", "epyc-7742", "epyc-7763", "epyc-9654", "epyc-9754", "epyc-9755",
    "epyc-9965", "xeon-e5-2680v2", "xeon-e5-2697v2", "xeon-e5-2680v3", "xeon-e5-2699v3", "xeon-e5-2680v4",
    "xeon-e5-2699v4", "xeon-8180", "xeon-8280", "xeon-8380", "xeon-8480", "xeon-8490h", "xeon-8592", "xeon-6980p",
    "ampereone-a192", "ampere-altra-q80-30", "ampere-altra-max-m128-30", "graviton2", "graviton3", "graviton4",
    "google-axion", "azure-cobalt-100", "grace", "apple-m1", "apple-m2-ultra", "apple-m3-max", "apple-m4-max",
    "strix-halo-cpu", "strix-halo-gpu", "gb10-cpu", "gb10-gpu", "t4", "v100-sxm2", "p40", "l4", "l40s", "a10",
    "a100-40gb-pcie", "a100-80gb-sxm", "rtx-a6000", "rtx-3060", "rtx-3070", "rtx-3080", "rtx-3090", "rtx-4060",
    "rtx-4070", "rtx-4080", "rtx-4090", "rtx-5070", "rtx-5080", "rtx-5090", "rtx-pro-6000", "h100-pcie", "h100-sxm",
    "h200", "gh200", "b200", "mi250", "mi300x", "rx-7900-xtx", "arc-b580", "gaudi-3", "jetson-agx-orin",
    "jetson-orin-nx", "jetson-thor",
}  # fmt: skip


def test_it_has_what_people_own() -> None:
    assert {*catalogue()} >= PEOPLE_OWN


def test_a_price_names_its_year_and_a_gpu_its_segment() -> None:
    for key, part in catalogue().items():
        assert (part.segment is not None) == (part.kind == "gpu"), key
        assert part.price_usd is None or part.price_usd.as_of, key


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xeon-8592", "server CPU with AMX"),
        ("epyc-9654", "CPU with AVX-512"),
        ("epyc-7742", "CPU with AVX2"),
        ("graviton3", "CPU of Arm"),
        ("apple-m1", "CPU of Arm"),
        ("xeon-e5-2697v2", "CPU without AVX2"),
        ("l40s", "datacenter GPU"),
        ("rtx-5090", "consumer GPU"),
        ("jetson-thor", "unified-memory SoC"),
    ],
)
def test_the_class_follows_from_units_and_segment(name: str, expected: str) -> None:
    assert catalogue()[name].device_class == expected


def test_shares_of_one_size_wait_for_the_slowest_cores() -> None:
    """OpenMP deals out the same to fast and slow cores, so a hybrid CPU does less than the sum of its cores."""
    hybrid, plain = catalogue()["core-i9-13900k"], catalogue()["ryzen-7950x"]
    assert (hybrid.peak("float32", equal_shares=True) or 0) < 0.7 * (hybrid.peak("float32") or 0)
    assert plain.peak("float32", equal_shares=True) == plain.peak("float32")


@pytest.mark.parametrize(
    ("name", "dtype", "tera"),
    [
        ("epyc-9654", "float32", 7.37),
        ("epyc-9654", "int8", 29.5),
        ("xeon-8490h", "int8", 233.5),
        ("ampereone-a192", "float32", 9.83),
        ("rtx-3060", "float32", 12.7),
        ("rtx-4090", "bfloat16", 165),
        ("a100-80gb-sxm", "bfloat16", 312),
        ("h100-sxm", "bfloat16", 990),
        ("h200", "int8", 1979),
        ("t4", "int8", 130),
        ("v100-sxm2", "float16", 125),
        ("l4", "float8", 242),
        ("rtx-5090", "int8", 838),
        ("mi300x", "float8", 2615),
        ("b200", "bfloat16", 2250),
        ("gaudi-3", "bfloat16", 1678),
        ("arc-b580", "int8", 233),
        ("xeon-8580", "bfloat16", 122.9),
    ],
)
def test_peaks_follow_from_cores_clock_and_operations(name: str, dtype: str, tera: float) -> None:
    assert (catalogue()[name].peak(dtype) or 0) / 1e12 == pytest.approx(tera, rel=0.01)


def test_a_matrix_unit_is_told_from_the_vector_units() -> None:
    part = catalogue()["xeon-8490h"]
    assert part.peak("int8") == pytest.approx(8 * (part.peak("int8", matrix=False) or 0))
    assert part.peak("float32") == part.peak("float32", matrix=False)
    assert catalogue()["xeon-e5-2680v2"].peak("int8") is None


def test_every_value_names_a_source() -> None:
    for part in catalogue().values():
        assert all(sourced.source in part.sources for _, sourced in sourced_values(part))
        assert all(len(text) > 10 for text in part.sources.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory__bandwidth_gbs": {"is": 460.8, "by": "ark"}}, "8 channels at 4800 MT/s give 307.2 GB/s, not 460.8"),
        ({"cores__0__base_ghz": {"is": 3.6, "by": "ark"}}, "the base, all-core and highest clock are"),
        ({"cores__0__threads": {"is": 100, "by": "ark"}}, "100 threads on 60 cores"),
        ({"tdp_w": {"is": 350, "by": "hearsay"}}, "tdp_w names the source 'hearsay'"),
        ({"tdp_w": {"is": 350}}, "tdp_w.by: Field required"),
        ({"tdp_w": 350}, "tdp_w: "),
        ({"cores__0__count": {"is": -60, "by": "ark"}}, "cores.0.count.is: Input should be greater than 0"),
        ({"cores__0__count": {"is": "sixty", "by": "ark"}}, "cores.0.count.is: "),
        ({"cores__0__max_ghz": {"is": float("nan"), "by": "ark"}}, "cores.0.max_ghz.is: "),
        ({"cores__0__max_ghz": None}, "cores.0.max_ghz: Field required"),
        ({"memory": None}, "memory: Field required"),
        ({"wattage": {"is": 350, "by": "ark"}}, "wattage: Extra inputs are not permitted"),
        (
            {"results": [{"what": "hpl", "dtype": "float64", "value": {"is": 20000, "by": "ark"}}]},
            "hpl measured 20,000, which exceeds the peak of 6,720",
        ),
        (
            {"results": [{"what": "copy", "dtype": "float32", "value": {"is": 400, "by": "ark"}}]},
            "copy measured 400, which exceeds the peak of 307",
        ),
        (
            {"results": [{"what": "gemm", "dtype": "int8", "value": {"is": 900000, "by": "ark"}}]},
            "exceeds the peak",
        ),
    ],
)
def test_a_contradiction_or_a_lack_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_part(changed(tmp_path, **changes))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "!!python/object/apply:os.system [id]", "x: &a [*a]", "\x00"])
def test_what_is_no_part_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "part.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_part(path)
    assert "\n" not in str(raised.value)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.floats() | st.text(max_size=8), st.lists)))
def test_any_yaml_is_a_part_or_refused(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("parts") / "part.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UsageError):
        read_part(path)


def test_a_person_adds_a_part_with_one_file(tmp_path: Path) -> None:
    path = changed(tmp_path, name="My Xeon")
    assert find_part(str(path)).name == "My Xeon"
    with pytest.raises(UsageError, match="no part 'epyc-96544' in the catalogue: did you mean \"epyc-9654\""):
        find_part("epyc-96544")
    with pytest.raises(UsageError, match="No such file"):
        find_part(str(tmp_path / "none.yaml"))


def test_a_host_that_was_read_is_an_entry_with_measured_ceilings() -> None:
    record = store.load(ROOT / "outputs" / "example")
    part = part_of(record.host, tuning(record).ceilings)
    measured = {(c.kind, c.dtype): c.value for c in tuning(record).ceilings}
    assert part.measured
    assert part.peak("float32") == pytest.approx(measured["compute", "float32"])
    assert part.bandwidth == pytest.approx(measured["memory", "float64"])
    with pytest.raises(UsageError, match="no measured ceilings"):
        part_of(record.host, ())
