"""What keeps samples, what it would hold and answer, which of them is chosen, and what is handed out of that."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from hwdiag.core.interval import Interval
from hwdiag.dataloader import cache_rules, caches
from hwdiag.dataloader.budget import BUDGETS, Data
from hwdiag.dataloader.cache_model import CacheCandidate, CacheMeasurement, Caching
from hwdiag.dataloader.cache_show import caches as shown
from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.dataset import Dataset, FolderContent, Storage
from hwdiag.dataloader.emit import CACHE, as_yaml, feeding_files, snippet
from hwdiag.dataloader.model import AvailableMemory, ChosenSetting, Feed, Prediction
from hwdiag.dataloader.rules import plan
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.dataloader.trials import Trials
from tests.dataloader.test_notebook import EXAMPLE, read

torch = pytest.importorskip("torch")
MIB = 1 << 20
KEPT = CacheMeasurement(
    samples=100,
    sample_bytes=MIB,
    slot_bytes=MIB,
    make_s=0.01,
    is_same=True,
    lmdb="0.9",
    write_s=1e-3,
    stall_s=0.05,
    stored_bytes=1.25 * MIB,
    cold_s=2e-3,
    warm_s=1e-4,
    free_bytes=100 << 30,
)
BEST = ChosenSetting(
    setting=LoaderSetting(workers=4),
    batch_size=32,
    samples_s=200.0,
    prediction=Prediction(process_bytes=0, shared_bytes=0, files=1),
)
DISK = Storage(folder="/data", kind="ext4", source="/dev/vda")


@pytest.fixture(scope="module")
def cached() -> ModuleType:
    """The file that is measured with and handed out, as a module."""
    spec = importlib.util.spec_from_file_location("sample_cache", CACHE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_cache"] = module  # pickled samples name it
    spec.loader.exec_module(module)
    return module


class Counted:
    """A Dataset that counts how often it makes a sample."""

    def __init__(self, length: int = 10) -> None:
        self.length, self.made = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.made += 1
        return torch.full((2, 3), index, dtype=torch.int16), index


@pytest.mark.parametrize("kind", ["WorkerCache", "SharedCache", "LmdbCache"])
def test_what_is_kept_is_made_once_and_stays_the_same(cached: ModuleType, kind: str, tmp_path: Path) -> None:
    data = Counted()
    if kind == "LmdbCache":
        pytest.importorskip("lmdb")
        whole = cached.LmdbCache(
            data, str(tmp_path / "samples.lmdb"), 1 << 20, most=6, after=lambda s: (s[0] + 1, s[1])
        )
        assert whole.fill() == 6
        assert whole.fill() == 0
        made = 6
    else:
        whole = getattr(cached, kind)(data, most=6, after=lambda s: (s[0] + 1, s[1]))
        made = 6 + (kind == "SharedCache")  # it looks at one, to know how large they are
    for _ in range(3):
        for index in range(10):
            pixels, label = whole[index]
            assert label == index
            assert pixels.tolist() == [[index + 1] * 3] * 2
            pixels.zero_()  # somebody's own copy
    assert data.made == made + 3 * 4


def test_each_kind_works_in_workers(cached: ModuleType, tmp_path: Path) -> None:
    """What one worker puts into shared memory the other finds; LMDB is opened by each for itself."""
    pytest.importorskip("lmdb")
    file = tmp_path / "samples.lmdb"
    lmdb = cached.LmdbCache(Counted(40), str(file), 1 << 20)
    assert lmdb.fill(workers=2) == 40
    shared = cached.SharedCache(Counted(40))
    for whole in (lmdb, shared):
        for _ in range(2):
            batches = list(torch.utils.data.DataLoader(whole, 10, num_workers=2, multiprocessing_context="fork"))
            assert torch.cat([labels for _, labels in batches]).tolist() == list(range(40))
    assert int((shared.sizes > 0).sum()) == 40


def test_lmdb_tells_other_samples_and_too_small_a_map(cached: ModuleType, tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    file = str(tmp_path / "samples.lmdb")
    cached.LmdbCache(Counted(), file, 1 << 20, about="v1")
    with pytest.raises(ValueError, match=r"holds samples of '10 v1', not of '10 v2'"):
        cached.LmdbCache(Counted(), file, 1 << 20, about="v2")
    small = cached.LmdbCache(Counted(5000), str(tmp_path / "small"), 64 << 10)
    with pytest.raises(lmdb.MapFullError):
        small.fill()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (4, 5)])
def test_packed_tensors_come_back(cached: ModuleType, shape: tuple[int, ...]) -> None:
    import pickle

    for dtype in (torch.float32, torch.bfloat16, torch.bool, torch.uint8):
        sample = {"x": torch.ones(shape).to(dtype).t() if len(shape) == 2 else torch.ones(shape).to(dtype), "y": "text"}
        back = pickle.loads(cached.packed(sample))
        assert back["y"] == "text"
        assert back["x"].dtype == dtype
        assert back["x"].shape == sample["x"].shape
        assert torch.equal(back["x"], sample["x"])
    trained = torch.ones(2, requires_grad=True)
    assert pickle.loads(cached.packed(trained)).requires_grad


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_share_that_a_page_cache_answers(share: float) -> None:
    """Against a cache that throws out what was used the longest ago, over epochs in random order."""
    order, count, cache = random.Random(1), 2000, OrderedDict[int, None]()
    hits = reads = 0
    for epoch in range(6):
        for index in order.sample(range(count), count):
            if epoch:
                reads += 1
                hits += index in cache
            cache.pop(index, None)
            cache[index] = None
            if len(cache) > share * count:
                cache.popitem(last=False)
    assert caches.lru_hit(share) == pytest.approx(hits / reads, abs=0.02)
    assert caches.lru_hit(1.0) == 1
    assert caches.lru_hit(0.0) == 0


def trials_with(memory: int, shared: int, length: int = 1000) -> Trials:
    trials = Trials(
        Data("x", "/x"),
        AvailableMemory(memory_bytes=memory, shared_bytes=shared, files=None),
        BUDGETS["quick"],
        clock=lambda: 0.0,
    )
    trials.dataset = Dataset(
        length=length, batch_bytes=1, tensors=1, batch_s=0.1, unpicklable=None, torch="2", python="3", cuda=None
    )
    trials.found = FolderContent(paths=(), bytes=200 * MIB, files=0, more=False, device="", real="")
    return trials


def test_each_has_room_for_what_fits_and_no_more() -> None:
    """1000 samples of a MiB: with 1 GiB free, four workers keep a quarter of 0.9 GiB each, /dev/shm half of them."""
    found = {c.kind: c for c in caches.plan(trials_with(1 << 30, 512 * MIB), KEPT, BEST, DISK, DISK)}
    assert found["worker"].keeps == pytest.approx(0.9 * 1024 / 4, abs=1)
    assert found["worker"].needs_bytes == 4 * 1000 * MIB
    assert found["shared"].keeps == pytest.approx(0.9 * 512, abs=1)
    assert found["lmdb"].keeps == 1000
    assert found["page"].hit == 1
    for cache in found.values():
        assert cache.hit * cache.needs_bytes <= 1 << 30 or cache.kind == "lmdb"
    tight = {c.kind: c for c in caches.plan(trials_with(100 * MIB, 0), KEPT, BEST, DISK, DISK)}
    assert tight["shared"].why == "there is space for 0% of the samples"
    assert tight["worker"].why == "there is space for 2% of the samples"
    assert tight["page"].hit < 0.15
    assert not list(caches.alternatives([tight["shared"]], KEPT, BEST.setting, "/x"))


def test_they_are_tried_beside_the_batch_as_found() -> None:
    """The page cache by its loss where each file comes from the disk; of the caches of samples one can be taken."""
    planned = caches.plan(trials_with(1 << 30, 512 * MIB), KEPT, BEST, DISK, DISK)
    planned = [c.model_copy(update={"why": ""}) for c in planned]
    ways = {a.name: a for a in caches.alternatives(planned, KEPT, BEST.setting, "/x")}
    page = ways.pop("page")
    assert (page.loses, page.data) == (True, {"forget": True})
    assert set(ways) == {"worker", "shared", "lmdb"}
    assert {(a.group, a.loses) for a in ways.values()} == {("cache", False)}
    assert ways["shared"].data["cache"]["most"] == round(0.9 * 512 / 1000 * KEPT.samples)


@pytest.mark.parametrize(
    ("kept", "below", "why"),
    [
        ({}, {"kind": "nfs4"}, "/data is on nfs4: LMDB must not be used on remote file systems (lmdb.h)"),
        ({}, {"kind": "tmpfs"}, "/data is in memory (tmpfs): it would keep nothing on a disk"),
        ({"lmdb": None, "lmdb_missing": "no lmdb: pip install lmdb"}, {}, "no lmdb: pip install lmdb"),
        ({"is_same": False}, {}, "a sample is another each time it is made: keep what comes before its random part"),
        ({}, {}, ""),
    ],
)
def test_lmdb_only_where_it_may_be(kept: dict[str, Any], below: dict[str, Any], why: str) -> None:
    (lmdb,) = (
        c
        for c in caches.plan(
            trials_with(1 << 30, 1 << 30), KEPT.model_copy(update=kept), BEST, DISK, DISK.model_copy(update=below)
        )
        if c.kind == "lmdb"
    )
    assert lmdb.why.startswith(why)
    assert bool(lmdb.why) == bool(why)


def test_the_queue_is_as_long_as_the_writer_is_held_up() -> None:
    assert caches.queue(KEPT, 200.0) == 10  # 0.05 s at 200 samples/s
    assert caches.queue(KEPT, 2000.0) is None  # it writes 1000 in a second


def cache(kind: str, speedup: float, verdict: str = "better", **more: Any) -> CacheCandidate:
    gain = Interval(median=speedup, low=speedup * 0.95, high=speedup * 1.05, processes=8)
    values = {"kind": kind, "needs_bytes": 1000 * MIB, "available_bytes": 1 << 40, "keeps": 1000, "hit": 1.0}
    return CacheCandidate.model_validate({**values, "speedup": gain, "verdict": verdict, **more})


def test_the_fastest_is_chosen_and_of_equals_the_simplest() -> None:
    near = [cache("worker", 5.0), cache("shared", 4.95), cache("lmdb", 4.9)]
    assert caches.choose(near, 0.03) == "shared"
    assert caches.choose([cache("worker", 3.0), cache("lmdb", 5.0)], 0.03) == "lmdb"
    assert caches.choose([cache("page", 9.0), cache("lmdb", 2.0, "undecided")], 0.03) is None


def feed_with(kind: str | None, **more: Any) -> Feed:
    """The example, where a cache pays, or none does."""
    found = [cache("page", 1.2), cache("worker", 5.0), cache("shared", 5.0), cache("lmdb", 5.0)]
    if kind is None:
        found = [c.model_copy(update={"verdict": "same"}) for c in found]
    told = {"caches": tuple(found), "chosen": kind, "folder": "/fast", "map_bytes": 2 << 30, "readers": 6, "queue": 10}
    study = Caching.model_validate({"kept": KEPT, **told, **more})
    return read(EXAMPLE).model_copy(update={"caching": study, "best": BEST, "validation": None})


def test_the_cache_that_pays_is_in_the_plan_the_yaml_and_the_files() -> None:
    feed = feed_with("lmdb")
    steps = plan(feed)
    (step,) = (s for s in steps if s.title.startswith("Cache: LMDB"))
    assert step.gain == 5.0
    assert "a map of 2 GiB" in step.do
    told = yaml.safe_load(as_yaml(feed, steps))["cache"]
    assert told["arguments"] == {"path": "/fast/samples.lmdb", "map_size": 2 << 30, "most": 1000}
    assert [f.path for f in feeding_files(feed, steps)][-1] == "sample_cache.py"
    many = feed_with("lmdb", readers=200)
    assert yaml.safe_load(as_yaml(many, steps))["cache"]["arguments"]["readers"] == 200
    shared = feed_with("shared")
    values = yaml.safe_load(as_yaml(shared, plan(shared)))
    assert values["shared_memory_bytes"] >= 1000 * MIB
    none = feed_with(None)
    assert "cache" not in snippet(none)
    assert "sample_cache.py" not in [f.path for f in feeding_files(none, plan(none))]
    assert cache_rules.verdict(none.caching).startswith("No cache of samples pays here: the nearest")


def test_the_snippets_with_a_cache_run(tmp_path: Path) -> None:
    """All in one process, since torch takes its time to import; each as it would be copied."""
    pytest.importorskip("lmdb")
    feeds = [feed_with(kind, folder=str(tmp_path), map_bytes=1 << 20) for kind in ("worker", "shared", "lmdb")]
    (tmp_path / "sample_cache.py").write_text(feeding_files(feeds[0], [])[-1].text)
    (tmp_path / "run.py").write_text(
        f"for code in {[snippet(feed) for feed in feeds]!r}:\n"
        "    given = {'dataset': list(range(64)), 'validation_dataset': list(range(64))}\n"
        "    exec(code, given)\n"
        "    epochs = [sorted(x for batch in given['train_loader'] for x in batch.tolist()) for _ in range(2)]\n"
        "    print(type(given['dataset']).__name__, epochs == [list(range(64))] * 2)\n"
    )
    done = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.splitlines() == ["WorkerCache True", "SharedCache True", "LmdbCache True"], done.stderr


def test_it_is_shown_by_kind_by_size_and_by_workers() -> None:
    section = shown(feed_with("shared"))
    assert section.verdict.startswith("A shared cache in /dev/shm pays: 1000 samples in 0.977 GiB")
    text = repr(section)
    assert "4 workers" in text
    assert "LMDB's own 126 suffice" in text
    assert "one of 10 samples suffices" in text
    assert shown(feed_with(None).model_copy(update={"caching": Caching(why="no indices")})).verdict == (
        "No cache was measured: no indices."
    )


def test_samples_are_kept_and_read_back(feeder: Feeder, pictures: Path, tmp_path: Path) -> None:
    """A child makes some, writes LMDB, and a loader that takes them from a cache decodes none of them."""
    pytest.importorskip("lmdb")
    paths = [str(p) for p in sorted(pictures.iterdir())][:8]
    data = {"paths": paths, "size": 64}
    indices = list(range(8))
    outcome, said = feeder.ask(
        "keep", limit_s=60, data=data, indices=indices, folder=str(tmp_path), seconds=30, most_bytes=MIB, seed=1
    )
    assert outcome.ok, outcome.detail
    said.pop("memory")
    kept = CacheMeasurement(samples=len(said.pop("indices")), **said)
    assert kept.samples == 8
    assert kept.is_same
    assert 3 * 64 * 64 < kept.sample_bytes < 3 * 64 * 64 + 300
    assert kept.stored_bytes is not None
    assert kept.stored_bytes > kept.sample_bytes
    gone = {"paths": [f"{p}.gone" for p in paths], "size": 64, "few": indices}
    task = {"seed": 1, "timeout_s": 10, "warmup_s": 0.0, "seconds": 0.1, "limit_s": 30}
    for kind in ("worker", "shared", "lmdb"):
        told = {"kind": kind, "most": 8, "folder": str(tmp_path), "slot_bytes": kept.slot_bytes}
        setting = {"workers": 1, "batch_size": 4}
        outcome, _ = feeder.ask("trial", data={**gone, "cache": told}, setting=setting, **task)
        assert outcome.ok, outcome.detail
    told = {"kind": "worker", "most": 4, "folder": str(tmp_path), "slot_bytes": kept.slot_bytes}
    outcome, _ = feeder.ask("trial", data={**gone, "cache": told}, setting={"batch_size": 4}, **task)
    assert not outcome.ok  # the other four are not there


def test_a_dataset_that_is_random_is_not_cached(
    feeder: Feeder, dataset_file: Callable[[str], str], tmp_path: Path
) -> None:
    file = dataset_file("return torch.rand(3)")
    outcome, said = feeder.ask(
        "keep", limit_s=60, data={"file": file}, indices=[0, 1], folder=str(tmp_path), seconds=9, most_bytes=MIB, seed=1
    )
    assert outcome.ok, outcome.detail
    assert not said["is_same"]
