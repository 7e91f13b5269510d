"""settings.py: what was shown to gain, as a file that any script can import, whatever the figures are called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hwdiag.devices.emit import PATH, render_torch_settings, torch_settings
from hwdiag.devices.gains import gains
from hwdiag.devices.model import Study
from hwdiag.devices.recommend import Choice, choices
from hwdiag.experiment.techniques import BY_NAME
from tests.devices.samples import CPU, RESNET, pairs, planned, study

USE = """
import settings, torch
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
net = settings.for_inference(net)
with settings.inference():
    y = net(torch.randn(1, 3, 8, 8))
print(y.dtype, y.is_inference(), net[0].weight.is_contiguous(memory_format=torch.channels_last))
with settings.training():
    print(net(torch.randn(1, 3, 8, 8)).requires_grad)
"""


def used(text: str, folder: Path) -> list[str]:
    (folder / "settings.py").write_text(text)
    done = subprocess.run([sys.executable, "-c", USE], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def winners(*techniques: str) -> Study:
    ratios = {name: 0.5 if name == "inference-mode" else 1.5 for name in techniques}
    seen = [m for name, r in ratios.items() for m in pairs(name, r, count=12, default=name == techniques[0])]
    return study(gains=gains(seen, [RESNET], [CPU], planned(*techniques), 0.03))


def test_it_does_what_was_measured(tmp_path: Path) -> None:
    for technique, seen in (
        ("autocast-bf16", "torch.bfloat16 True False"),
        ("channels-last", "torch.float32 True True"),
    ):
        found = winners(technique, "inference-mode")
        text = render_torch_settings(found, choices(found))
        assert "resnet18-inference 1.50x" in text
        assert used(text, tmp_path) == [*seen.split(), "True"]


def test_without_a_gain_it_changes_nothing_and_says_so(tmp_path: Path) -> None:
    text = render_torch_settings(study(), ())
    assert "it changes nothing here" in text
    assert used(text, tmp_path) == ["torch.float32", "False", "False", "True"]


def test_what_a_script_has_to_do_itself_is_written_as_a_comment() -> None:
    names = ("graphs", "checkpointing", "accumulation", "pinned")
    assert all(BY_NAME[name].by_hand for name in names)
    gain = winners("autocast-bf16").gains[0]
    chosen = Choice(technique="graphs", mode="inference", device="cpu", gains=(gain,))
    text = render_torch_settings(study(), [chosen])
    assert "# To be done in the script itself: net = torch.cuda.make_graphed_callables(net, (x,))" in text
    compile(text, "settings.py", "exec")


def test_a_cpu_with_an_odd_name_cannot_leave_the_text(tmp_path: Path) -> None:
    odd = winners("autocast-bf16").model_copy(
        update={"cpu": 'X"""\nraise SystemExit("out")\n"""\\', "software": '"""1'}
    )
    assert used(render_torch_settings(odd, choices(odd)), tmp_path)[0] == "torch.bfloat16"


def test_it_is_a_file_of_the_runs_folder() -> None:
    file = torch_settings(study(), ())
    assert (file.path, file.executable) == (PATH, False)
