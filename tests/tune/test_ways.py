"""Files for other ways to start programs: real parsers read them, and where a way runs here it is run."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import jsonschema
import pytest
import yaml

from hwdiag.cli import main
from hwdiag.core.finding import Recommendation
from hwdiag.core.interval import Interval
from hwdiag.process.launch import Allocator, InstancePlacement, Launch, MemoryPolicy
from hwdiag.tune.way import Start
from hwdiag.tune.ways import ways
from tests.conftest import make_host
from tests.tune import slurm_node

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"
USABLE = sorted(os.sched_getaffinity(0))
EVIL = "$(touch pwned)`touch pwned`'\"\\\n touch pwned; %n ${HOME} \u2028#\x01"
SPEEDUP = Interval(median=1.3, low=1.2, high=1.4, processes=10)
WHY = Recommendation(id="launch-overall", scope="overall", plan="p", title="Faster", why="It is.", speedup=SPEEDUP)
BOUND = Launch(threads=1, cpus=(USABLE[-1],))
NODE = MemoryPolicy(mode="bind", nodes=(0,))
TWO = Launch(
    threads=1,
    env={"MKL_NUM_THREADS": "1"},
    instances=(InstancePlacement(cpus=(USABLE[-1],)), InstancePlacement(cpus=(USABLE[0],))),
)
LAUNCHES = {
    "nothing": Launch(),
    "threads": Launch(threads=3),
    "bound": BOUND,
    "memory": BOUND.model_copy(update={"memory": NODE}),
    "preferred": BOUND.model_copy(update={"memory": MemoryPolicy(mode="preferred", nodes=(0,))}),
    "interleaved": Launch(memory=MemoryPolicy(mode="interleave", nodes=(0, 1))),
    "allocator": Launch(allocator=Allocator(name="jemalloc", path="/usr/lib/libjemalloc.so.2"), preload=("/x/a.so",)),
    "switches": Launch(python_path=("/x/switches",), env={"HWDIAG_SWITCH_A": "1"}, unset=("OPENBLAS_CORETYPE",)),
    "two": TWO,
    "hostile": Launch(
        threads=1, env={"X": EVIL, "A=$(touch pwned)": "1"}, unset=("Z; touch pwned",), preload=(f"/{EVIL}",)
    ),
}


def start(launch: Launch, *command: str, **more: Any) -> Start:
    """Return the start of a command on a host of two nodes."""
    return Start(
        launch=launch,
        recommendation=WHY.model_copy(update={"instances": len(launch.members), "title": f"Faster {EVIL}"}),
        host=make_host(nodes=2),
        scripts=PurePath("/srv/run/scripts"),
        made_at="2026-11-20T10:00:00Z",
        command=command,
        **more,
    )


def texts(way: str, launch: Launch, *command: str, **more: Any) -> dict[str, str]:
    return {f.path: f.text for f in ways()[way].files(start(launch, *command, **more))}


def write(folder: Path, way: str, launch: Launch, *command: str) -> dict[str, Path]:
    """Write a way's files and return where they are."""
    paths = {}
    for file in ways()[way].files(start(launch, *command)):
        path = paths[file.path] = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        path.chmod(0o755 if file.executable else 0o644)
    return paths


def test_the_folder_is_the_list() -> None:
    assert list(ways()) == ["compose", "docker", "kubernetes", "slurm", "systemd", "torchrun"]
    assert all(way.title for way in ways().values())


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
@pytest.mark.parametrize("way", ["docker", "slurm", "torchrun"])
def test_shell_scripts_are_sound(tmp_path: Path, way: str, launch: Launch) -> None:
    for path in write(tmp_path, way, launch, "python3", f"a {EVIL}.py").values():
        assert subprocess.run(["bash", "-n", path], capture_output=True).returncode == 0
        if shutil.which("shellcheck"):
            checked = subprocess.run(["shellcheck", "-s", "bash", path], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
def test_systemd_accepts_the_units(tmp_path: Path, launch: Launch) -> None:
    paths = write(tmp_path, "systemd", launch, "python3", f"a {EVIL}.py")
    (unit,) = (p for p in paths.values() if p.suffix == ".service")
    named = unit.with_name(unit.name.replace("@.", "@1."))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", named], capture_output=True, text=True)
    assert "hwdiag-program" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_a_unit_sets_what_was_measured() -> None:
    lines = texts("systemd", LAUNCHES["memory"])["hwdiag-program.service"].splitlines()
    for line in (f"CPUAffinity={USABLE[-1]}", "NUMAPolicy=bind", "NUMAMask=0", 'Environment="OMP_NUM_THREADS=1"'):
        assert line in lines
    assert "UnsetEnvironment=OPENBLAS_CORETYPE" in texts("systemd", LAUNCHES["switches"])["hwdiag-program.service"]
    (folder,) = {name for name in texts("systemd", TWO) if name.endswith("@0.service.d/binding.conf")}
    assert f"CPUAffinity={USABLE[-1]}" in texts("systemd", TWO)[folder]


def test_values_of_a_unit_are_themselves() -> None:
    text = texts("systemd", Launch(env={"X": 'a$b%n"\n'}), "run", "$x%n")["hwdiag-program.service"]
    assert 'Environment="X=a$b%%n\\"\\x0a"' in text
    assert 'ExecStart="run" "$$x%%n"' in text


def test_a_folder_that_a_unit_cannot_hold_is_left_out() -> None:
    for folder in ("/a\nExecStartPre=/bin/false", "/a\\"):
        assert (
            "WorkingDirectory" not in texts("systemd", Launch(), "x", folder=PurePath(folder))["hwdiag-program.service"]
        )
    assert (
        "WorkingDirectory=/a%%b c"
        in texts("systemd", Launch(), "x", folder=PurePath("/a%b c"))["hwdiag-program.service"]
    )


def schema_errors(name: str, value: object) -> list[str]:
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return [f"{list(e.path)}: {e.message}" for e in validator(schema).iter_errors(value)]


def test_the_schemas_refuse_what_is_wrong() -> None:
    job = yaml.safe_load(texts("kubernetes", BOUND)["job.yaml"])
    job["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    assert schema_errors("kubernetes-job.json", job)
    assert schema_errors("compose-spec.json", {"services": {"program": {"image": "x", "cpu_set": "0"}}})


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
def test_kubernetes_accepts_the_job(launch: Launch) -> None:
    job = yaml.safe_load(texts("kubernetes", launch, "python3", EVIL)["job.yaml"])
    assert schema_errors("kubernetes-job.json", job) == []
    (container,) = job["spec"]["template"]["spec"]["containers"]
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["cpu"].isdigit()  # whole ones, or the static CPU manager gives none of its own
    assert container["command"][-1].replace("$$(", "$(") == EVIL
    assert job["spec"].get("completions", 1) == len(launch.members)


def test_kubernetes_gives_the_cpus_that_the_plan_takes() -> None:
    def cpus(launch: Launch) -> str:
        spec = yaml.safe_load(texts("kubernetes", launch)["job.yaml"])["spec"]["template"]["spec"]
        return str(spec["containers"][0]["resources"]["limits"]["cpu"])

    assert [cpus(LAUNCHES[name]) for name in ("nothing", "threads", "bound", "two")] == ["8", "3", "1", "1"]
    assert "hugepages-2Mi" not in texts("kubernetes", BOUND)["job.yaml"]
    assert "hugepages-2Mi" in texts("kubernetes", Launch(env={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2"}))["job.yaml"]


@pytest.mark.parametrize("launch", LAUNCHES.values(), ids=LAUNCHES)
def test_compose_accepts_the_file(launch: Launch) -> None:
    file = yaml.safe_load(texts("compose", launch, "python3", EVIL)["compose.yaml"])
    assert schema_errors("compose-spec.json", file) == []
    services = [*file["services"].values()]
    assert len(services) == len(launch.members)
    assert services[0]["command"][-1].replace("$$", "$") == EVIL
    assert ("cap_add" in services[0]) == any(m.memory is not None for m in launch.members)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("bound", [f"--cpuset-cpus={USABLE[-1]}", "--shm-size=1024m"], ["SYS_NICE", "--cpuset-mems=0"]),
        ("memory", ["--cpuset-mems=0"], ["SYS_NICE", "numactl"]),
        ("preferred", ["SYS_NICE", "numactl", "--preferred=0"], ["--cpuset-mems=0"]),
        ("interleaved", ["SYS_NICE", "--interleave=0-1"], []),
        ("allocator", ["LD_PRELOAD=/srv/run/scripts/a.so:/usr/lib/libjemalloc.so.2"], ["SYS_NICE"]),
        ("hostile", [f"X={EVIL}"], []),
    ],
)
def test_docker_is_given_each_word(tmp_path: Path, name: str, has: list[str], lacks: list[str]) -> None:
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    engine.chmod(0o755)
    path = write(tmp_path, "docker", LAUNCHES[name], "python3", EVIL)["run.sh"]
    done = subprocess.run(
        [path], env={**os.environ, "ENGINE": str(engine)}, capture_output=True, text=True, cwd=tmp_path
    )
    words = done.stdout.split("\0")[:-1]
    assert (words[0], words[-2:]) == ("run", ["python3", EVIL])
    assert not [w for w in has if w not in words]
    assert not [w for w in lacks if w in words]
    assert not (tmp_path / "pwned").exists()


def test_a_container_has_no_more_open_files_than_the_measured_process() -> None:
    made = start(BOUND)
    limits = made.host.limits.model_copy(update={"nofile": (1024, 20000)})
    few = dataclasses.replace(made, host=made.host.model_copy(update={"limits": limits}))
    (run,), (file,) = (list(ways()[way].files(few)) for way in ("docker", "compose"))
    assert "nofile=20000:20000" in run.text
    assert yaml.safe_load(file.text)["services"]["program"]["ulimits"]["nofile"] == {"soft": 20000, "hard": 20000}
    assert "nofile=65536:65536" in texts("docker", BOUND)["run.sh"]


def test_a_container_of_each_instance_is_waited_for(tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\ncase $* in *cpuset-cpus=" + str(USABLE[0]) + "*INSTANCE=1*) exit 7;; esac\n")
    engine.chmod(0o755)
    path = write(tmp_path, "docker", TWO, "x")["run.sh"]
    assert subprocess.run([path], env={**os.environ, "ENGINE": str(engine)}).returncode == 7


def test_slurm_binds_by_masks_and_asks_for_the_whole_node_only_then() -> None:
    text = texts("slurm", TWO)["job.sbatch"]
    masks = f"{hex(1 << USABLE[-1])},{hex(1 << USABLE[0])}"
    assert f"--cpu-bind=mask_cpu:{masks}" in text
    assert "#SBATCH --ntasks-per-node=2\n" in text
    assert "#SBATCH --exclusive\n" in text
    free = texts("slurm", LAUNCHES["threads"])["job.sbatch"]
    assert "#SBATCH --cpus-per-task=3\n" in free
    assert "exclusive" not in free
    assert "--mem-bind=prefer,mask_mem:0x1" in texts("slurm", LAUNCHES["preferred"])["job.sbatch"]
    assert "numactl --interleave=0-1 -- " in texts("slurm", LAUNCHES["interleaved"])["job.sbatch"]


def test_torchrun_is_for_instances_alone() -> None:
    assert texts("torchrun", BOUND) == {}
    assert "--nproc-per-node 2 --no-python" in texts("torchrun", TWO)["torchrun.sh"]


# One node of Slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment of a cluster of this node."""
    if why := slurm_node.why_not():
        pytest.skip(why)
    with slurm_node.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


TELL = (
    "import json, os; print(json.dumps([os.environ['SLURM_LOCALID'], sorted(os.sched_getaffinity(0)), "
    "{n: os.environ.get(n) for n in ('OMP_NUM_THREADS', 'X', 'PYTHONPATH', 'OPENBLAS_CORETYPE')}]))"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["memory", "two", "switches", "hostile"])
def test_slurm_runs_the_job_as_it_was_measured(tmp_path: Path, slurm: dict[str, str], name: str) -> None:
    launch = LAUNCHES[name]
    if name == "switches":  # which else takes all CPUs of a host: eight, more than there may be here
        launch = launch.model_copy(update={"threads": 1})
    path = write(tmp_path, "slurm", launch, sys.executable, "-c", TELL)["job.sbatch"]
    tested = subprocess.run(["sbatch", "--test-only", path], env=slurm, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    said = slurm_node.submit(path, {**slurm, "OPENBLAS_CORETYPE": "Haswell"})
    told = sorted(json.loads(line) for line in said.splitlines() if line.startswith("["))
    assert len(told) == len(launch.members), said
    for (number, cpus, environment), member in zip(told, launch.members, strict=True):
        assert int(number) == launch.members.index(member)
        assert member.cpus is None or tuple(cpus) == member.cpus
        assert environment["OMP_NUM_THREADS"] == (None if member.threads is None else str(member.threads))
        assert environment["X"] == member.env.get("X")
        assert (environment["OPENBLAS_CORETYPE"] is None) == bool(member.unset and name == "switches")
        assert (environment["PYTHONPATH"] or "").startswith("/srv/run/scripts/switches") == bool(member.python_path)
    assert not (tmp_path / "pwned").exists()


# The verb


def test_emit_writes_files_of_each_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emit", "--record", str(EXAMPLE), "--for", "slurm,systemd", "--out", str(tmp_path), "--", "a b"]) == 0
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*") if p.is_file()} == {
        "slurm/job.sbatch", "systemd/hwdiag-program.service"
    }  # fmt: skip
    assert shlex.quote("a b") in (tmp_path / "slurm" / "job.sbatch").read_text()
    assert "wrote" in capsys.readouterr().out


def test_emit_prints_one_file_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emit", "--record", str(EXAMPLE), "--for", "slurm"]) == 0
    assert capsys.readouterr().out.startswith("#!/bin/bash\n# Starts a program the way that was fastest on vm")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--for", "slurm"], "emit what?"),
        (["--record", str(EXAMPLE), "--for", "nomad"], "--for takes compose, docker"),
        (["--record", str(EXAMPLE), "--for", "torchrun"], "several instances"),
        (["--record", str(EXAMPLE), "--for", "slurm", "--recommendation", "launch-ovrall"], "launch-overall"),
        (["--record", "/nowhere", "--for", "slurm"], "no record at /nowhere"),
    ],
)  # fmt: skip
def test_emit_refuses_in_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["emit", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
