"""What a recording of a large host looks like: the figure, the live picture and the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hwdiag.core.finding import Check
from hwdiag.host.model import Gpu
from hwdiag.host.sampling import Sampler
from hwdiag.host.source import Column
from hwdiag.monitor.live import Live
from hwdiag.monitor.measure import monitor
from hwdiag.monitor.model import Monitored, Summary
from hwdiag.monitor.recording import MARK
from hwdiag.monitor.rules import ended
from hwdiag.monitor.show import absent_table, cost, percentiles, verdict
from hwdiag.monitor.timeline import MOST_POINTS, average, timeline
from hwdiag.monitor.window import Window
from hwdiag.process.observation.marks import Mark, Marks
from hwdiag.report.format import said
from tests.conftest import make_host
from tests.host.conftest import unpacked
from tests.simulation.large_host import CPUS, DUMP, GPUS, LargeHost, Simulated

__all__ = ["unpacked"]

NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def large(unpacked: Callable[[str], Path], tmp_path: Path) -> tuple[Monitored, Path]:
    """Ten minutes of a large host."""
    host = LargeHost(unpacked(DUMP), tmp_path / "large")
    sampler = Sampler(host.root(), nvml=host.nvml())
    path = tmp_path / "m.parquet"
    done, _ = monitor(sampler, path, make_host(), name="x", hz=2, seconds=600, clock=Simulated())
    marks = (Mark(seconds=100, text="epoch <1>"), Mark(seconds=300, text="epoch 2"))
    return done.model_copy(update={"marks": marks}), path


def test_the_figure_has_a_panel_for_all_that_was_told(large: tuple[Monitored, Path]) -> None:
    figure = timeline(*large)
    assert figure is not None
    text = " ".join(e.text or "" for e in ElementTree.fromstring(figure.svg).iter(f"{NAMESPACE}text"))
    for words in ("each CPU, % busy", "memory, GiB", "GPU use, %", "GPU clock, MHz", "GPU power, W", "GPU 7", "CPU 56",
                  "NUMA, pages/s", "GPU temperature, °C", "epoch <1>", "seconds since the start"):  # fmt: skip
        assert words in text
    assert "600 s of this machine over time" in figure.alt
    assert "Each point is the mean of 2 samples." in figure.caption
    assert len(figure.svg) < 1_500_000


def test_no_figure_of_nothing(large: tuple[Monitored, Path]) -> None:
    done, path = large
    assert timeline(done.model_copy(update={"samples": 1}), path) is None


def test_averages_are_of_what_was_told() -> None:
    import numpy as np

    values = np.array([1.0, 3.0, math.nan, 5.0, math.nan, math.nan, 7.0])
    assert average(values, 2).tolist()[:2] == [2.0, 5.0]
    assert math.isnan(average(values, 2)[2])
    assert average(values, 2)[3] == 7.0
    assert average(values, 1) is values
    assert len(average(np.zeros(10 * MOST_POINTS), 10)) == MOST_POINTS


def test_many_cpus_are_two_rows_of_the_table(large: tuple[Monitored, Path]) -> None:
    table = percentiles(large[0])
    names = [str(row[0]) for row in table.rows]
    assert len([n for n in names if n.startswith("clock of CPU")]) == 2
    assert len([n for n in names if n.endswith("temperature")]) == GPUS
    assert not [n for n in names if "reasons" in n or n.startswith(MARK)]
    assert "42.0 °C" in table.to_text()


def test_an_idle_machine_has_a_row_of_zero(large: tuple[Monitored, Path]) -> None:
    still = [
        Summary(name=name, unit="%", title=title, samples=9, mean=0, p5=0, median=0, p95=0, most=0)
        for name, title in (("cpu.use", "all CPUs busy"), ("cpu.steal", "taken by the hypervisor"))
    ]
    idle = large[0].model_copy(update={"summaries": (*still, *large[0].summaries)})
    names = [str(row[0]) for row in percentiles(idle).rows]
    assert "all CPUs busy" in names
    assert "taken by the hypervisor" not in names


def test_what_is_live_fits_a_picture(large: tuple[Monitored, Path]) -> None:
    columns = large[0].columns
    live = Live(columns)
    for n in range(200):
        live.add(n / 2, [math.nan if n % 7 == 0 else float(n % 100)] * len(columns))
    root = ElementTree.fromstring(live.svg())
    assert len(root.findall(f".//{NAMESPACE}rect")) == CPUS + 1 + 6, "each CPU, the card, and the scale"
    words = [e.text for e in root.iter(f"{NAMESPACE}text")]
    assert {"busy: 0 %", "100 %", "now", "60 s ago", "of 100 %", "CPU 0", "CPU 32"} <= set(words)
    assert len(live.history) < 200
    assert root.findall(f".//{NAMESPACE}polyline")
    assert "No finding in the last 120 samples." in words
    assert live.line().startswith("100 s  all CPUs busy 99 %")
    assert len(live.to_html()) < 100_000


def watched_for(samples: int, marks: Marks, *, waited: float) -> Live:
    """A live picture after so many samples, two a second."""
    columns = [("cpu.use", "%", "all CPUs busy"), ("pressure.memory.some", "%", "waiting for memory")]
    live = Live([Column(name=n, unit=u, title=t) for n, u, t in columns], make_host(), marks)
    for n in range(1, samples + 1):
        live.add(n / 2, [50.0, waited])
        live.judge()
    return live


def drawn_words(live: Live) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(live.svg()).iter(f"{NAMESPACE}text")]


def test_the_live_picture_shows_what_the_command_says_of_itself() -> None:
    """Marks were in the recording alone: whoever watched saw none."""
    marks = Marks()
    live = watched_for(80, marks, waited=0)
    marks.add("epoch 1", 30)
    marks.add("epoch 2", 39.5)
    assert {"epoch 1", "epoch 2"} <= set(drawn_words(live))
    for n in range(81, 300):
        live.add(n / 2, [50.0, 0.0])
    assert not {"epoch 1", "epoch 2"} & set(drawn_words(live)), "they left the axis with their samples"


def test_marks_that_are_too_close_keep_their_lines_and_the_newest_its_words() -> None:
    marks = Marks()
    live = watched_for(80, marks, waited=0)
    few = drawn_lines(live)
    for n in range(20):
        marks.add(f"step {n}", 30 + n / 10)
    words = [w for w in drawn_words(live) if w.startswith("step")]
    assert "step 19" in words
    assert len(words) == 2
    assert drawn_lines(live) == few + 20


def drawn_lines(live: Live) -> int:
    return len(ElementTree.fromstring(live.svg()).findall(f".//{NAMESPACE}line"))


def test_the_live_picture_shows_what_the_rules_find_and_when_they_began_to() -> None:
    live = watched_for(9, Marks(), waited=30)
    assert "Too few samples to judge yet." in drawn_words(live)
    live = watched_for(40, Marks(), waited=30)
    assert [(m.seconds, m.text) for m in live.noticed] == [(5.0, "Programs waited for memory")]
    assert any(w.startswith("! Programs waited for memory: 30.0 % of the time") for w in drawn_words(live))
    assert "Programs waited for memory" in drawn_words(live)


def test_a_gpu_that_is_slowed_down_is_found_while_it_is() -> None:
    columns = [Column(name=f"gpu0.{n}", unit="", title=n) for n in ("use", "reasons")]
    gpu = Gpu(index=0, name="NVIDIA GeForce RTX 3060")
    (found,) = Window(columns, [(99.0, 0x40)] * 20, 4, [gpu]).findings()
    assert "was slowed down in 100% of the samples in which it worked" in found.title
    assert Window(columns, [(99.0, 0.0)] * 20, 4, [gpu]).findings() == ()


def test_the_words_about_cost_and_gaps(large: tuple[Monitored, Path]) -> None:
    done, _ = large
    assert "of one core" in cost(done)
    assert "1200 samples" in cost(done)
    table = absent_table(done)
    assert table is not None
    assert "CPU quota" in table.to_text()
    broken = done.model_copy(update={"command": ("x", "\x1b[31m"), "outcome": "exit status 3", "cut": "full"})
    said_ = verdict(broken, [*ended(broken.model_copy(update={"status": 3}))])
    assert "\x1b" not in said_
    assert "The recording is cut: full. 1 finding: The command failed: exit status 3." in said_


def test_a_verdict_without_a_finding_names_what_was_looked_at(large: tuple[Monitored, Path]) -> None:
    done, _ = large
    fine = Check(id="a", state="fine", title="Waiting for memory")
    assert verdict(done, [fine, fine.model_copy(update={"title": "CPU quota"})]).endswith(
        "No finding; looked at: waiting for memory and CPU quota."
    )
    assert verdict(done, ()).endswith("Nothing was recorded that could be judged.")


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(3 << 30, "B", "3 GiB"), (2.5e6, "B/s", "2.5 MB/s"), (1200, "1/s", "1.2 k/s"), (4.04, "%", "4.0 %"),
     (45.4, "%", "45 %"), (0, "%", "0 %"), (1980, "MHz", "1980 MHz"), (3, "", "3.00"), (math.nan, "W", "unknown")],
)  # fmt: skip
def test_values_with_their_units(value: Any, unit: str, words: str) -> None:
    assert said(value, unit) == words


def test_one_column_alone_can_be_shown() -> None:
    live = Live([Column(name="cpu.use", unit="%", title="all CPUs busy")])
    live.add(0.5, [12.0])
    ElementTree.fromstring(live.svg())
