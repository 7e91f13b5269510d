"""launch.sh is run for real: what it sets, what it refuses, and what it does where a tool is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.core.finding import Recommendation
from hwdiag.core.interval import Interval
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Allocator, Launch, MemoryPolicy
from hwdiag.tune.launch_script import render_launch_script, script_path

KEEP = Recommendation(id="launch-overall", scope="overall", plan=None, title="Keep what you have", why="It's fastest.")
EVIL = "$(touch pwned)`touch pwned`'\"\n touch pwned; \u2028#"


@pytest.fixture(scope="module")
def here() -> Host:
    return read_host(Root.live())


def write(folder: Path, launch: Launch, host: Host, why: Recommendation = KEEP) -> Path:
    path = folder / "launch.sh"
    path.write_text(render_launch_script(launch, why, host, made_at="2026-11-20T10:00:00Z"))
    path.chmod(0o755)
    return path


def run(path: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([path, *args], capture_output=True, text=True, env={**os.environ, **env}, cwd=path.parent)


def with_cpus(host: Host, *cpus: int) -> Host:
    return host.model_copy(update={"cpu": host.cpu.model_copy(update={"online": cpus})})


def a_library() -> str:
    """Return a shared library that any program can have preloaded: one that this Python has mapped."""
    mapped = (line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    return next(path for path in mapped if re.search(r"/lib(m|z|resolv|util|dl|pthread)[.-]", path))


LIBRARY = a_library()

EVIL_LAUNCH = Launch(
    preload=(f"/no/{EVIL}.so",),
    cpus=(0,),
    env={"X": EVIL},
    allocator=Allocator(name="jemalloc", path=f"/no/{EVIL}.so"),
)
LAUNCHES = [
    Launch(),
    Launch(threads=2, env={"MKL_NUM_THREADS": "2"}),
    Launch(threads=1, cpus=(0,), memory=MemoryPolicy(mode="preferred", nodes=(0,))),
    Launch(interop_threads=3),
    Launch(preload=("/run/libfirst.so",), unset=("GONE",)),
    EVIL_LAUNCH,
    Launch(unset=("OPENBLAS_CORETYPE", "LD_PRELOAD")),
    Launch(python_path=("/run/switches",), env={"HWDIAG_SWITCH_PRECISION": "matmul-bf16"}),
    Launch(unset=("LD_PRELOAD",), allocator=Allocator(name="jemalloc", path="/bin/true")),
]


def test_what_no_variable_sets_is_said(tmp_path: Path, here: Host) -> None:
    script = write(tmp_path, Launch(interop_threads=3), here)
    assert "begin the program with torch.set_num_interop_threads(3)" in run(script, "true").stderr


def test_its_heading_claims_no_more_than_was_measured(here: Host) -> None:
    """A script of a run that compared nothing was headed 'the way that was fastest'."""
    gain = Interval(median=1.2, low=1.1, high=1.3, processes=9)
    faster = KEEP.model_copy(update={"plan": "threads=2", "speedup": gain})
    needed = KEEP.model_copy(update={"plan": "needed"})
    heads = [
        render_launch_script(Launch(), r, here, made_at="2026-11-30").splitlines()[:3] for r in (KEEP, faster, needed)
    ]
    assert all(head[0] == "#!/usr/bin/env bash" and head[2].startswith("# ") for head in heads)
    assert "showed no other way to be faster" in heads[0][1]
    assert "the way that was fastest" in heads[1][1]
    assert "was not compared" in heads[2][1]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda launch: re.sub(r"\W+", "-", launch.describe())[:40])
def test_it_passes_shellcheck(tmp_path: Path, here: Host, launch: Launch) -> None:
    done = subprocess.run(["shellcheck", write(tmp_path, launch, here)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_command_runs_with_the_variables_and_its_own_arguments(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, LAUNCHES[1], here)
    done = run(path, "--", "sh", "-c", 'echo "$OMP_NUM_THREADS $MKL_NUM_THREADS $1"', "sh", "a  b --show")
    assert (done.stdout, done.returncode) == ("2 2 a  b --show\n", 0), done.stderr
    assert run(path, "sh", "-c", "exit 7").returncode == 7


def test_the_binding_takes_effect(tmp_path: Path, here: Host) -> None:
    cpu = here.usable_cpus[-1]
    done = run(write(tmp_path, Launch(cpus=(cpu,)), here), "grep", "Cpus_allowed_list", "/proc/self/status")
    assert done.stdout.split() == ["Cpus_allowed_list:", str(cpu)], done.stderr


@pytest.mark.skipif(shutil.which("numactl") is None, reason="numactl is not installed")
def test_the_memory_policy_takes_effect(tmp_path: Path, here: Host) -> None:
    launch = Launch(memory=MemoryPolicy(mode="interleave", nodes=(0,)))
    done = run(write(tmp_path, launch, here), "head", "-n1", "/proc/self/numa_maps")
    assert done.stdout.split()[1] == "interleave:0", done.stderr


def test_without_numactl_it_warns_and_runs_unbound(tmp_path: Path, here: Host) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "uname", "getconf", "sha256sum", "cut", "echo"):
        (tools / tool).symlink_to(shutil.which(tool) or "/missing")
    done = run(write(tmp_path, LAUNCHES[2], here), "echo", "ran", PATH=str(tools))
    assert done.stdout == "ran\n"
    assert "numactl is not installed: the command runs unbound" in done.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "is not there any more"), ("no library", "is not loaded by a program that starts with it")],
)
def test_a_library_that_cannot_be_had_ends_it_unless_forced(
    tmp_path: Path, here: Host, content: str | None, why: str
) -> None:
    library = tmp_path / "libjemalloc.so.2"
    if content is not None:
        library.write_text(content)
    path = write(tmp_path, Launch(allocator=Allocator(name="jemalloc", path=str(library))), here)
    show = ("sh", "-c", "echo [$LD_PRELOAD]")
    done = run(path, *show, LD_PRELOAD="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"launch.sh: {library} {why}; --force runs the command without it\n"
    forced = run(path, "--force", *show, LD_PRELOAD="")
    assert (forced.returncode, forced.stdout) == (0, "[]\n")
    assert forced.stderr == f"launch.sh: {library} {why}: the command runs without it\n"


CALLED = {
    "plain": ("here", "./launch.sh", {}),
    "a space": ("my scripts", "./launch.sh", {}),
    "a colon": ("run:1", "./launch.sh", {}),
    "both, by a link": ("my: scripts", "../link.sh", {}),
    "a link": ("here", "../link.sh", {}),
    "CDPATH": ("here", "here/launch.sh", {"CDPATH": "{top}"}),
    "no plain cache folder": ("run:1", "./launch.sh", {"XDG_CACHE_HOME": "/no where"}),
}


@pytest.mark.parametrize("case", CALLED)
def test_a_preloaded_library_is_in_the_programs_memory_wherever_it_lies(tmp_path: Path, here: Host, case: str) -> None:
    """In a folder with a space or a colon, by a link, with CDPATH; and so is what switches torch."""
    name, command, env = CALLED[case]
    folder = tmp_path / name
    (folder / "switches").mkdir(parents=True)
    (folder / "switches/sitecustomize.py").write_text("print('switched')")
    shutil.copyfile(LIBRARY, folder / "libfirst.so")
    path = write(folder, Launch(preload=("/elsewhere/libfirst.so",), python_path=("/run/switches",)), here)
    (tmp_path / "link.sh").symlink_to(path)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "LD_PRELOAD": "", "PYTHONPATH": ""} | {
        k: v.format(top=tmp_path) for k, v in env.items()
    }
    show = "print([line.split()[5] for line in open('/proc/self/maps') if 'libfirst' in line][:1])"
    done = subprocess.run(
        [command, "--", sys.executable, "-c", show],
        capture_output=True, text=True, env={**os.environ, **env}, cwd=tmp_path if case == "CDPATH" else folder
    )  # fmt: skip
    assert done.stderr == ""
    switched, mapped = done.stdout.splitlines()
    assert (switched, mapped.endswith("libfirst.so']")) == ("switched", True), done.stdout


def test_an_inherited_preload_is_kept_behind_the_allocator(tmp_path: Path, here: Host) -> None:
    library = tmp_path / "libjemalloc.so.2"
    shutil.copyfile(LIBRARY, library)
    path = write(tmp_path, Launch(allocator=Allocator(name="jemalloc", path=str(library))), here)
    done = run(path, "--show", "true", LD_PRELOAD="/lib/x.so")
    assert f"LD_PRELOAD={library}:/lib/x.so" in done.stdout


def test_another_host_is_refused_in_one_line_unless_forced(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, LAUNCHES[1], with_cpus(here, *range(777)))
    refused = run(path, "echo", "ran")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1
    assert "777 CPUs), not on this host" in refused.stderr
    forced = run(path, "--force", "--", "echo", "ran")
    assert (forced.returncode, forced.stdout) == (0, "ran\n")


@pytest.mark.skipif(not Path("/etc/machine-id").exists(), reason="this machine has no machine-id")
def test_a_twin_with_another_machine_id_is_refused(tmp_path: Path, here: Host) -> None:
    twin = here.model_copy(update={"system": here.system.model_copy(update={"machine_hash": "0" * 64})})
    assert run(write(tmp_path, LAUNCHES[0], twin), "true").returncode == 2
    assert run(write(tmp_path, LAUNCHES[0], here), "true").returncode == 0


def test_show_says_what_and_why_and_runs_nothing(tmp_path: Path, here: Host) -> None:
    done = run(write(tmp_path, LAUNCHES[1], here), "--show", "--", "touch", "ran")
    assert "What: 2 threads" in done.stdout
    assert "Why:  It's fastest." in done.stdout
    assert "OMP_NUM_THREADS=2" in done.stdout
    assert not (tmp_path / "ran").exists()


def test_wrong_usage_is_one_line_and_status_2(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, LAUNCHES[0], here)
    wrong = run(path, "--shwo")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert run(path).returncode == 2
    assert "Usage:" in run(path, "--help").stdout


def test_nothing_from_outside_is_ever_executed(tmp_path: Path, here: Host) -> None:
    system = here.system.model_copy(update={"hostname": EVIL})
    why = Recommendation(id="launch-overall", scope="overall", plan="evil", title=EVIL, why=EVIL)
    path = write(tmp_path, EVIL_LAUNCH, here.model_copy(update={"system": system}), why)
    done = run(path, "--force", "sh", "-c", 'printf %s "$X"')
    assert done.stdout == EVIL
    assert run(path, "--force", "--show").returncode == 0
    assert not (tmp_path / "pwned").exists()


def test_scripts_are_named_after_their_scope() -> None:
    assert script_path(KEEP) == "scripts/launch.sh"
    assert script_path(KEEP.model_copy(update={"scope": "gpt2"})) == "scripts/launch-gpt2.sh"


def test_what_is_unset_is_gone_and_the_allocator_stands_alone(tmp_path: Path, here: Host) -> None:
    allocator = Allocator(name="jemalloc", path=str(tmp_path / "none.so"))
    shutil.copyfile(LIBRARY, tmp_path / "none.so")
    path = write(tmp_path, Launch(unset=("LD_PRELOAD", EVIL), env={"A": "1"}, allocator=allocator), here)
    shown = run(path, "--show", "--", "true", LD_PRELOAD="")
    assert "env -u LD_PRELOAD -u " in shown.stdout
    assert f"A=1 LD_PRELOAD={tmp_path}/none.so true" in shown.stdout
    assert not (tmp_path / "pwned").exists()
    gone = write(tmp_path, Launch(unset=("OPENBLAS_CORETYPE",)), here)
    done = run(gone, "--", "sh", "-c", "echo ${OPENBLAS_CORETYPE-gone} $PWD", OPENBLAS_CORETYPE="Haswell")
    assert done.stdout == f"gone {tmp_path}\n"


def test_libraries_beside_the_script_go_in_front_and_what_is_unset_is_gone(tmp_path: Path, here: Host) -> None:
    launch = Launch(preload=("/elsewhere/libfirst.so",), unset=("GONE",), env={"KEPT": "yes"})
    path = write(tmp_path, launch, here)
    show = ("sh", "-c", "echo [$GONE] [$KEPT]; exec env")
    missing = run(path, "--force", *show, GONE="1", LD_PRELOAD="")
    assert missing.stdout.startswith("[] [yes]\n")
    assert "libfirst.so is not there any more" in missing.stderr
    shutil.copyfile(LIBRARY, tmp_path / "libfirst.so")
    found = run(path, *show, LD_PRELOAD="")
    assert f"LD_PRELOAD={tmp_path}/libfirst.so" in found.stdout


def test_without_numactl_the_cpus_are_bound_all_the_same(tmp_path: Path, here: Host) -> None:
    cpu = min(here.usable_cpus)
    launch = Launch(cpus=(cpu,), memory=MemoryPolicy(mode="preferred", nodes=(0,)))
    path = write(tmp_path, launch, here)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "taskset", "uname", "getconf", "sha256sum", "cut", "grep", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name}"))
    done = run(path, "grep", "Cpus_allowed_list", "/proc/self/status", PATH=str(tools))
    assert done.stdout.split() == ["Cpus_allowed_list:", str(cpu)], done.stderr
    assert "the CPUs are bound, the memory is not" in done.stderr
