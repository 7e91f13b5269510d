"""``hwdiag verify`` as a prolog starts it, and the examples that docs/fleet/ has for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hwdiag.cli import main
from hwdiag.host.model import Host
from hwdiag.parameters.verify import VerifyParams
from hwdiag.record.model import Record
from hwdiag.record.store import save
from hwdiag.record.verification import load_verification
from hwdiag.verify.look import verify
from tests.tune import slurm_node
from tests.tune.test_ways import schema_errors

pytestmark = pytest.mark.usefixtures("clean_environment")

FLEET = Path(__file__).parents[2] / "docs" / "fleet"
WRAPPER = FLEET / "hwdiag-verify"
VENV = Path(sys.executable).parents[1]


def bare(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program with no PATH, no HOME and nothing else in its environment."""
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, cwd="/", stdin=subprocess.DEVNULL)


def more_memory(record: Record) -> Record:
    memory = record.host.memory.model_copy(update={"total_bytes": 2 * (record.host.memory.total_bytes or 1 << 34)})
    return record.model_copy(update={"host": record.host.model_copy(update={"memory": memory})})


def test_it_needs_no_path_and_no_home(recorded: Path) -> None:
    done = bare(sys.executable, "-m", "hwdiag", "verify", "--record", recorded, "--facts-only")
    assert (done.returncode, done.stderr) == (0, "")
    first, *more = done.stdout.splitlines()
    assert re.match(r"PASS \S+: as recorded 2026", first)
    assert any("memory" in line for line in more)


def test_what_is_gone_is_critical_and_in_json(tmp_path: Path, recorded: Path, record_of: Callable[[Host], Record],
                                              here: Host, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    save(more_memory(record_of(here)), recorded)
    words = ["verify", "--record", str(recorded), "--facts-only", "--json", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["causes"][0]["id"]) == ("CRITICAL", "lost.memory")
    assert told["record"] == str(recorded / "record.json")
    assert load_verification(tmp_path / "out").model_dump(mode="json") == told


def test_a_folder_of_hosts_has_this_one_by_its_name(
    tmp_path: Path, here: Host, record_of: Callable[[Host], Record], capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("mine", "other"):
        for run in ("20260101T000000Z", "20260201T000000Z"):
            (tmp_path / host / run).mkdir(parents=True)
            save(record_of(here), tmp_path / host / run)
    (tmp_path / "mine" / "20260301T000000Z").mkdir()
    (tmp_path / "mine" / "20260301T000000Z" / "record.json").write_text("{")  # the newest is damaged
    words = ["verify", "--record", str(tmp_path), "--facts-only", "--json"]
    assert main([*words, "--host", "mine"]) == 0
    assert json.loads(capsys.readouterr().out)["record"] == str(tmp_path / "mine" / "20260201T000000Z" / "record.json")
    assert main([*words, "--host", "missing"]) == 3
    assert json.loads(capsys.readouterr().out)["causes"][0]["id"] == "no-record"


@pytest.mark.parametrize("kind", ["missing", "damaged", "pipe", "empty", "huge", "cut"])
def test_a_record_that_is_none_is_unknown_in_one_line(
    tmp_path: Path, recorded: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind != "missing":
        whole = (recorded / "record.json").read_text()
        path.write_text({"damaged": whole[: len(whole) // 2], "empty": "", "cut": whole.replace(
            '"complete": true', '"complete": false')}[kind])  # fmt: skip
    assert main(["verify", "--record", str(path), "--facts-only"]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("UNKNOWN ")
    assert str(path) in line


def test_a_wrong_parameter_is_unknown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HWDIAG_LOSS", "much")
    assert main(["verify"]) == 3
    assert "UNKNOWN" in capsys.readouterr().out


def test_a_python_that_is_gone_is_unknown_and_facts_are_told(recorded: Path) -> None:
    found = verify(VerifyParams(record=str(recorded), python="/nowhere/python"), print, print)
    assert (found.status, [c.id for c in found.causes]) == ("UNKNOWN", ["no-python"])
    assert [c.id for c in found.checks if c.state == "fine"] == ["facts"]


def test_another_number_of_cpus_than_recorded_is_not_measured(
    recorded: Path, here: Host, record_of: Callable[[Host], Record]
) -> None:
    fewer = here.limits.model_copy(update={"allowed": here.usable_cpus[:-1] or (99,)})
    save(record_of(here.model_copy(update={"limits": fewer})), recorded)
    if len(here.usable_cpus) > 1:
        found = verify(VerifyParams(record=str(recorded)), print, print)
        assert any("this process may use" in c.title for c in found.checks)


@pytest.mark.long
def test_it_measures_this_host(recorded: Path) -> None:
    pytest.importorskip("torch")
    found = verify(VerifyParams(record=str(recorded), timeout=120), print, print)
    assert [s.workload for s in found.speeds] == ["resnet18"]
    assert found.speeds[0].now.processes >= 8


# The examples of docs/fleet/


def test_the_wrapper_gives_the_verdict_and_its_status(recorded: Path) -> None:
    done = bare(WRAPPER, "--facts-only", HWDIAG_VENV=str(VENV), HWDIAG_RECORDS=str(recorded))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"PASS .*\n", done.stdout)


@pytest.mark.parametrize(
    ("python", "told"),
    [
        (None, "there is no"),
        ("exit 1", "older than 3.10"),
        ('case $1 in -c) exit 0;; esac; echo Traceback; echo "ModuleNotFoundError: x"; exit 1', "ModuleNotFoundError"),
        ('case $1 in -c) exit 0;; esac; echo "PASS but lies"; exit 2', "ended with status 2"),
    ],
)  # fmt: skip
def test_the_wrapper_tells_what_is_wrong_with_python(tmp_path: Path, python: str | None, told: str) -> None:
    if python is not None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
        (tmp_path / "bin" / "python").chmod(0o755)
    done = bare(WRAPPER, HWDIAG_VENV=str(tmp_path))
    assert (done.returncode, done.stdout.count("\n")) == (3, 1)
    assert done.stdout.startswith("UNKNOWN ")
    assert told in done.stdout


def test_the_scripts_are_plain_shell() -> None:
    scripts = [WRAPPER, FLEET / "slurm-prolog", FLEET / "slurm-health-check"]
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-s", "sh", *scripts], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    assert all(os.access(path, os.X_OK) for path in scripts)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_timer(tmp_path: Path) -> None:
    for name in ("hwdiag-verify.service", "hwdiag-verify.timer"):
        text = (FLEET / name).read_text().replace("/usr/local/sbin/hwdiag-verify", str(WRAPPER))
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "hwdiag-verify.timer")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "hwdiag" in done.stderr) == (0, False), done.stderr


def test_kubernetes_accepts_the_job() -> None:
    assert schema_errors("kubernetes-job.json", yaml.safe_load((FLEET / "verify-job.yaml").read_text())) == []


NO_SLURM = pytest.mark.skipif(bool(slurm_node.why_not()), reason=slurm_node.why_not() or "there")


def installed(folder: Path, name: str, recorded: Path) -> Path:
    """Write an example of docs/fleet/ so that it uses this Python, and this record; its facts alone."""
    path = folder / name
    asked = f"HWDIAG_VENV={VENV} HWDIAG_RECORDS={recorded} {WRAPPER} --facts-only"
    text = (FLEET / name).read_text()
    (called,) = re.findall(r"\$\((\S*hwdiag-verify[^)]*)\)", text)
    path.write_text(text.replace(f"$({called})", f"$({asked})"))
    path.chmod(0o755)
    return path


@pytest.mark.long
@NO_SLURM
def test_a_prolog_drains_the_node_that_lost_a_part_and_no_other(
    tmp_path: Path, recorded: Path, here: Host, record_of: Callable[[Host], Record]
) -> None:
    prolog = installed(tmp_path, "slurm-prolog", recorded)
    job = tmp_path / "job.sbatch"
    job.write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "slurm").mkdir()
    with slurm_node.cluster(tmp_path / "slurm", f"Prolog={prolog}\nPrologFlags=Alloc") as environment:
        assert slurm_node.submit(job, environment) == "ran\n"
        save(more_memory(record_of(here)), recorded)
        subprocess.run(["sbatch", job], env=environment, check=True, capture_output=True)
        assert slurm_node.wait_for_state(environment, "drain")


@pytest.mark.long
@NO_SLURM
def test_a_health_check_drains_the_node_with_the_cause(
    tmp_path: Path, recorded: Path, here: Host, record_of: Callable[[Host], Record]
) -> None:
    check = installed(tmp_path, "slurm-health-check", recorded)
    (tmp_path / "slurm").mkdir()
    more = f"HealthCheckProgram={check}\nHealthCheckInterval=2\nHealthCheckNodeState=ANY"
    with slurm_node.cluster(tmp_path / "slurm", more) as environment:
        known = f"export PATH\nSLURM_CONF={environment['SLURM_CONF']}; export SLURM_CONF\n"  # not where scontrol looks
        check.write_text(check.read_text().replace("export PATH\n", known))
        save(more_memory(record_of(here)), recorded)
        assert slurm_node.wait_for_state(environment, "drain")
        reason = subprocess.run(["sinfo", "-h", "-o", "%E"], env=environment, capture_output=True, text=True).stdout
        assert re.match(r"hwdiag: CRITICAL .* memory are gone", reason)
