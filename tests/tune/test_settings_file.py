"""What is handed over is what was measured: settings.py is run on a net, and launch.sh names each lever's share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.core.finding import Recommendation
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Launch
from hwdiag.tune.emit import is_emitted, launch_files
from hwdiag.tune.placement import with_threads
from hwdiag.tune.settings_file import settings_path
from hwdiag.tune.within import at_start, lever, switching_folder
from tests.conftest import make_software

NAMES = ("channels-last", "bf16", "autocast-bf16", "matmul-bf16", "inference-mode", "flush-denormals", "math-attention")
EVIL = 'it\'s """ quoted\n\\ and import os; os.abort()'


def handed_over(plan: Plan, folder: Path, **more: object) -> dict[str, str]:
    """The texts of the files, by their names, written to this folder."""
    about = {"id": "accuracy-reduced", "scope": "overall", "title": EVIL, "why": EVIL, "accuracy": "reduced"}
    r = Recommendation.model_validate({**about, "plan": plan.id, "offered": True, **more})
    assert is_emitted(r, None)
    files = launch_files(
        {r.id: plan.launch}, [r], read_host(Root.live()), plans=(DEFAULT, plan), software=make_software(),
        folder=folder, command=None, made_at="2026-11-30",
    )  # fmt: skip
    found = {}
    for file in files:
        path = folder / Path(file.path).name
        path.write_text(file.text)
        path.chmod(0o755)
        found[path.name] = file.text
    return found


def test_it_says_how_to_call_it_under_its_own_name(tmp_path: Path) -> None:
    """settings_reduced.py said "import settings", which is another file."""
    text = handed_over(Plan.of(lever("bf16", "precision")), tmp_path)["settings_reduced.py"]
    assert "    import settings_reduced\n\n    net = settings_reduced.prepared(net)" in text


USE_EACH = """
import os, sys, torch
for name in sys.argv[1:]:
    if os.fork():
        assert os.wait()[1] == 0, name
        continue
    os.chdir(name)
    sys.path.insert(0, "")
    import settings_reduced as s
    net = s.prepared(torch.nn.Conv2d(3, 4, 3))
    with s.forward(): y = net(s.given(torch.randn(2, 3, 8, 8)))
    print(y.dtype, net.weight.dtype, net.weight.is_contiguous(memory_format=torch.channels_last),
          torch.get_float32_matmul_precision(), y.requires_grad, float(torch.tensor([1e-40]) * 1) == 0, flush=True)
    os._exit(0)
"""
"""A program that uses the settings of each folder, in a process of its own that has torch already."""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each file sets, as a program sees it."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("each")
    for name in NAMES:
        (folder / name).mkdir()
        handed_over(Plan.of(lever(name, "precision")), folder / name)
    command = [sys.executable, "-c", USE_EACH, *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(NAMES, map(str.split, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_what_it_sets_is_what_the_agent_set(name: str, used: dict[str, list[str]]) -> None:
    dtype, weights, last, products, records, flushed = used[name]
    assert dtype == ("torch.bfloat16" if name in ("bf16", "autocast-bf16") else "torch.float32")
    assert weights == ("torch.bfloat16" if name == "bf16" else "torch.float32")
    assert last == str(name == "channels-last")
    assert products == ("medium" if name == "matmul-bf16" else "highest")
    assert records == str(name != "inference-mode")
    assert flushed == str(name == "flush-denormals")


def test_both_parts_are_handed_over_and_name_each_other(tmp_path: Path) -> None:
    plan = Plan.of(with_threads("threads=2", 2, make_software()), lever("bf16", "precision"))
    found = handed_over(plan, tmp_path, shares={"threads=2": 1.1, "whole net in bf16": 2.3})
    assert set(found) == {"launch-reduced.sh", "settings_reduced.py"}
    assert "together with launch-reduced.sh" in found["settings_reduced.py"]
    shown = subprocess.run(
        [tmp_path / "launch-reduced.sh", "--show"], capture_output=True, text=True, check=True
    ).stdout
    assert "Lever: 1.10x by threads=2" in shown
    assert "Lever: 2.30x by whole net in bf16" in shown
    assert "imports settings_reduced.py" in shown


def test_a_command_is_switched_by_a_folder_beside_the_script(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    inside = at_start(lever("matmul-bf16", "precision"), switching_folder(tmp_path))
    assert set(handed_over(Plan.of(inside), tmp_path)) == {"launch-reduced.sh"}
    code = "import torch; print(torch.get_float32_matmul_precision())"
    run = [tmp_path / "launch-reduced.sh", sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "medium"
    (tmp_path / "switches" / "sitecustomize.py").unlink()
    done = subprocess.run(run, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "which switches torch; --force runs the command without it" in done.stderr
    forced = subprocess.run([run[0], "--force", *run[1:]], capture_output=True, text=True, check=True)
    assert forced.stdout.strip() == "highest"


def test_names_of_the_files_follow_the_recommendation() -> None:
    keep = Recommendation(id="launch-overall", scope="overall", plan=None, title="", why="")
    assert settings_path(keep) == "scripts/settings.py"
    assert settings_path(keep.model_copy(update={"scope": "gpt2"})) == "scripts/settings_gpt2.py"


def test_every_technique_that_a_search_takes_can_be_written_down() -> None:
    for name in ("compile", "compile-freezing", "int8-dynamic", "fp16", "tf32", "cudnn-benchmark"):
        entry = BY_NAME[name]
        assert entry.setup or entry.prepare or entry.around


def test_what_changes_nothing_within_has_no_settings(tmp_path: Path) -> None:
    assert set(handed_over(Plan.of(with_threads("threads=2", 2, make_software())), tmp_path)) == {"launch-reduced.sh"}
    assert Launch(python_path=("/a",)).plus(Launch(python_path=("/a", "/b"))).python_path == ("/a", "/b")
