"""What is emitted and what is to be done, of a run that was recorded, and of ones made up from it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from hwdiag.audit.knobs import BY_ID
from hwdiag.core.interval import Interval
from hwdiag.dataloader import show
from hwdiag.dataloader.alternatives import LIBRARY_THREADS, ONE_THREAD
from hwdiag.dataloader.dataset import Decoder
from hwdiag.dataloader.emit import as_yaml, feeding_files, rollout, snippet
from hwdiag.dataloader.model import AvailableMemory, ChosenSetting, Extra, Feed, Prediction
from hwdiag.dataloader.rules import plan, screened, verdict
from hwdiag.dataloader.search import lever, with_workers
from hwdiag.dataloader.setting import LoaderSetting, setting_of
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.model import SearchStep, TriedPlan
from hwdiag.experiment.screening import ALL
from hwdiag.process.model import Disturbance
from tests.dataloader.test_notebook import EXAMPLE, read

ODD = "</script>\n`rm -rf ~` [x](javascript:1)"


@pytest.fixture(scope="module")
def feed() -> Feed:
    return read(EXAMPLE)


def with_setting(feed: Feed, **values: Any) -> Feed:
    """The same with another best setting, that was shown to be better."""
    chosen = ChosenSetting(
        setting=LoaderSetting(**values),
        batch_size=8,
        samples_s=100.0,
        first_s=0.5,
        restart_s=0.1,
        prediction=Prediction(process_bytes=1 << 30, shared_bytes=1 << 20, files=100),
    )
    speedup = Interval(median=2.0, low=1.9, high=2.1, processes=8)
    return feed.model_copy(update={"best": chosen, "verdict": "better", "speedup": speedup})


def test_the_plan_is_in_order_of_measured_gain(feed: Feed) -> None:
    steps = plan(feed)
    assert steps
    gains = [step.gain for step in steps if step.gain is not None]
    assert gains == sorted(gains, reverse=True)
    assert all(step.gain is not None for step in steps[: len(gains)])
    assert all(step.do and step.check and step.undo and step.gain_text for step in steps)


def test_the_gains_of_the_steps_multiply_to_that_of_the_screening(feed: Feed) -> None:
    if feed.verdict != "better":
        pytest.skip("in the example no setting was better than the default")
    assert feed.best is not None
    product = 1.0
    for step in plan(feed):
        product *= step.gain if step.gain and step.title.startswith("DataLoader") else 1.0
    assert product == pytest.approx(screened(feed, feed.best.plan))


TWO, AHEAD, PINNED = (
    with_workers(2),
    lever("batches ahead", "1 ahead", prefetch=1),
    lever("x", "pinned", pin_memory=True),
)


def seen(gains: dict[Plan, float]) -> tuple[TriedPlan, ...]:
    return tuple(
        TriedPlan(plan=p.id, speedup=Interval(median=m, low=m, high=m, processes=2), dropped=False)
        for p, m in gains.items()
    )


def with_plan(feed: Feed, taken: Plan) -> Feed:
    """A run whose search took this plan, having seen two levers and both of them together."""
    alone, both = Plan.of(TWO), Plan.of(TWO, AHEAD)
    steps = (
        SearchStep(factor="workers", options=seen({alone: 1.4}), adopted=alone.id),
        SearchStep(factor="batches ahead", options=seen({both: 1.7}), adopted=both.id),
        SearchStep(factor=ALL, options=seen({alone: 1.5, both: 1.6}), adopted=taken.id),
    )
    found = with_setting(feed, **setting_of(taken).model_dump())
    assert found.best is not None
    best = found.best.model_copy(update={"plan": taken})
    return found.model_copy(update={"steps": steps, "best": best, "plans": (DEFAULT, alone, both)})


def settings_of(feed: Feed) -> dict[str, float | None]:
    """The gain of each step that sets the DataLoader."""
    prefix = "DataLoader: "
    told = {s.title: s.gain for s in plan(feed)}
    return {t.removeprefix(prefix): gain for t, gain in told.items() if t.startswith(prefix) and "persist" not in t}


def test_each_lever_that_was_taken_is_one_step_with_what_was_last_seen_of_it(feed: Feed) -> None:
    """Two levers that held in the race of all together are two steps; where the race went back, what was left."""
    assert settings_of(with_plan(feed, Plan.of(TWO, AHEAD))) == {"2 workers": 1.5, "1 ahead": pytest.approx(1.6 / 1.5)}
    assert settings_of(with_plan(feed, Plan.of(TWO))) == {"2 workers": 1.5}


def test_a_lever_that_was_not_seen_by_itself_has_no_gain(feed: Feed) -> None:
    found = with_plan(feed, Plan.of(TWO, PINNED))
    assert settings_of(found) == {"2 workers": 1.5, "pinned": None}
    (step,) = (s for s in plan(found) if s.title == "DataLoader: pinned")
    assert step.gain_text.startswith("not measured by itself; all of the setting, measured again: 2.00x")


def test_levers_of_a_setting_that_was_not_shown_better_are_no_steps(feed: Feed) -> None:
    found = with_plan(feed, Plan.of(TWO, AHEAD)).model_copy(update={"verdict": "undecided"})
    assert settings_of(found) == {}


def test_storage_limits_and_shared_memory_get_their_steps(feed: Feed) -> None:
    remote = feed.storage.model_copy(update={"kind": "nfs4"})
    refused = {"8 workers": "its batches take 1 GiB of /dev/shm, which has 0.06 GiB", "9": "it needs 99 open files"}
    steps = plan(feed.model_copy(update={"storage": remote, "refused": refused}))
    titles = [step.title for step in steps]
    assert "Copy what is read often from nfs4 to a local disk" in titles
    assert "Make /dev/shm larger" in titles
    assert "Allow more open files" in titles
    knobs = yaml.safe_load(as_yaml(feed, steps))["knobs"]
    assert "limits.nofile" in knobs
    assert set(knobs) <= set(BY_ID)


def test_what_is_wrong_with_the_dataset_gets_its_steps(feed: Feed) -> None:
    assert feed.dataset is not None
    assert feed.footprint is not None
    odd = feed.model_copy(
        update={
            "dataset": feed.dataset.model_copy(update={"doubled": True, "stream": True, "length": None}),
            "footprint": feed.footprint.model_copy(update={"growth_bytes": 4 << 20}),
        }
    )
    titles = [step.title for step in plan(odd)]
    assert "Give each worker its own share of the IterableDataset" in titles
    assert "Find out why a worker grows by 4.0 MiB with each batch" in titles
    assert "shuffle" not in snippet(odd).partition("validation_loader")[0]
    assert "unknown: an IterableDataset" in repr(show.memory(odd))


def test_one_thread_for_each_library_is_emitted_only_where_it_helped(feed: Feed) -> None:
    gain = Interval(median=1.5, low=1.4, high=1.6, processes=8)
    helps = Extra(name=ONE_THREAD, what="start it with OMP_NUM_THREADS=1", speedup=gain, verdict="better", changes="no")
    for extra, environment in ((helps, LIBRARY_THREADS), (helps.model_copy(update={"verdict": "same"}), {})):
        found = feed.model_copy(update={"extras": (extra,)})
        steps = plan(found)
        assert yaml.safe_load(as_yaml(found, steps))["environment"] == environment
        assert any(s.title.startswith("One thread for each library") for s in steps) == bool(environment)
    assert "1.50x (1.40 to 1.60), same" in repr(show.memory(found))


def test_a_disk_that_is_too_slow_names_its_settings(feed: Feed) -> None:
    assert feed.storage.reading is not None
    assert feed.best is not None
    slow = feed.storage.reading.any_order.model_copy(update={"bytes_s": 1e4})
    reading = feed.storage.reading.model_copy(update={"cold": 1.0, "any_order": slow})
    found = feed.model_copy(update={"storage": feed.storage.model_copy(update={"reading": reading, "disk": "sda"})})
    knobs = yaml.safe_load(as_yaml(found, plan(found)))["knobs"]
    assert {"io.scheduler", "io.read_ahead"} <= set(knobs) <= set(BY_ID)


def test_without_a_setting_there_is_no_plan_and_no_file(feed: Feed) -> None:
    none = feed.model_copy(update={"best": None, "problem": "the Dataset raises"})
    assert plan(none) == []
    assert feeding_files(none, []) == []
    assert verdict(none) == "No DataLoader could be measured: the Dataset raises."
    for section in (show.search, show.chosen):
        assert "the Dataset raises" in section(none).verdict


def test_input_bound_or_not(feed: Feed) -> None:
    found = with_setting(feed, workers=2).model_copy(update={"step_s": 0.1, "disturbance": Disturbance(load=0.1)})
    assert found.best is not None
    waits = found.model_copy(update={"best": found.best.model_copy(update={"waiting": 0.3})})
    fed = found.model_copy(update={"best": found.best.model_copy(update={"waiting": 0.001})})
    assert verdict(waits).endswith("At 100 ms a step the training is input-bound: it waits 30% of the time.")
    assert verdict(fed).endswith("At 100 ms a step the training never waits.")


def test_the_snippets_run(feed: Feed) -> None:
    """With a Dataset in place of the person's, to the first batch; all in one process."""
    settings: list[dict[str, Any]] = [
        {},
        {"workers": 2, "prefetch": 4, "persistent": True},
        {"workers": 2, "threads": 2, "places": ((0,), (0, 1)), "sharing": "file_system", "start_method": "fork"},
    ]
    plain = feed.model_copy(update={"hostname": ODD, "data": ODD, "caching": None})
    code = (
        f"for code in {[snippet(with_setting(plain, **values)) for values in settings]!r}:\n"
        "    given = {'dataset': list(range(64)), 'validation_dataset': list(range(64))}\n"
        "    exec(code, given)\n"
        "    loader = given['train_loader']\n"
        "    print(len(next(iter(loader))), loader.num_workers, loader.prefetch_factor)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["8 0 None", "8 2 4", "8 2 2"], done.stderr


def test_a_busy_machine_is_told(feed: Feed) -> None:
    loud = feed.model_copy(update={"disturbance": Disturbance(load=7.0), "cpus": 2})
    assert verdict(loud).endswith("(load 7.0 on 2 CPUs): measure again when it is idle.")
    assert "busy" not in verdict(loud.model_copy(update={"cpus": 64}))


def test_the_yaml_says_what_was_measured(feed: Feed) -> None:
    found = with_setting(feed, workers=2, prefetch=4, places=((0,), (1,)))
    values = yaml.safe_load(as_yaml(found, plan(found)))
    assert values["training"]["arguments"] == {"batch_size": 8, "num_workers": 2, "prefetch_factor": 4}
    assert values["training"]["worker_cpus"] == [[0], [1]]
    assert values["training"]["measured"] == {"samples_per_s": 100.0, "first_batch_s": 0.5, "epoch_restart_s": 0.1}
    if feed.validation and feed.best:
        own = values["validation"]["arguments"]["num_workers"]
        assert own <= max(1, (feed.best.setting.workers or 0) // 2)


def test_what_comes_from_outside_stays_text(feed: Feed) -> None:
    odd = feed.model_copy(
        update={"hostname": ODD, "data": ODD, "storage": feed.storage.model_copy(update={"folder": ODD})}
    )
    assert "\n`rm" not in snippet(odd)
    assert "\n# </script>" not in snippet(odd)
    assert yaml.safe_load(as_yaml(odd, plan(odd)))["training"]
    text = rollout(odd, plan(odd))
    assert "<script>" not in text
    assert "[x](" not in text
    for section in (show.storage(odd), show.memory(odd), show.chosen(odd), show.plan(odd, plan(odd))):
        assert "</script>" not in section._repr_html_()


def test_pillow_simd_is_judged_by_the_resize() -> None:
    first = Decoder(key="pillow", name="Pillow", version="13", library="libjpeg-turbo 3", reduced=False, seconds=0.008)
    slow = first.model_copy(update={"resize_seconds": 0.012})
    fast = first.model_copy(update={"resize_seconds": 0.002})
    assert "may be worth its build from source" in show.judged(slow)
    assert show.judged(fast).endswith("could gain no more than that (libjpeg-turbo is in Pillow already).")
    assert "the resize takes 20 %" in show.judged(fast)


def test_network_storage_is_warned_of(feed: Feed) -> None:
    remote = feed.model_copy(update={"storage": feed.storage.model_copy(update={"kind": "nfs4", "disk": None})})
    assert "copy what is read often to a local disk" in show.storage(remote).verdict
    hung = remote.model_copy(
        update={
            "storage": remote.storage.model_copy(update={"reading": None, "why": "no answer for 30 s in read: killed"})
        }
    )
    assert "it was not read: no answer for 30 s in read: killed" in show.storage(hung).verdict


def test_cold_is_said_only_where_it_was() -> None:
    assert show.temperature("ext4", 1.0) == "not in memory before"
    assert show.temperature("ext4", 0.25) == "of which 75 % was in memory still, though the kernel was asked to drop it"
    assert "does not say" in show.temperature("overlay", None)
    assert "no disk below it" in show.temperature("tmpfs", 0.0)


def test_room_is_shown(feed: Feed) -> None:
    said = repr(
        show.storage(
            feed.model_copy(update={"available": AvailableMemory(memory_bytes=None, shared_bytes=64 << 20, files=None)})
        )
    )
    assert "64 MiB" in said
    assert "unlimited" in said
