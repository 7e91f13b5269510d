"""The playbooks, run against this machine with the files of another one mounted over its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwdiag.advise.audit import audit
from hwdiag.emit.settings import settings_files
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from tests.emit.fake_host import memory_folder, require_namespaces

PLAYBOOKS = Path(__file__).parents[2] / "hwdiag" / "emit" / "templates" / "ansible"
OVER = {
    "/proc/sys/vm/swappiness": "60\n",
    "/proc/sys/vm/vfs_cache_pressure": "100\n",
    "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
}
"""Files of this machine that others are mounted over, in a namespace of its own."""
FOLDERS = ("/var/lib/hwdiag", "/etc/sysctl.d")


def ansible(name: str) -> str:
    """The program beside this Python, or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    require_namespaces()
    with memory_folder() as folder:
        yield Played(folder, tmp_path)


class Played:
    """Emitted files, and a way to play a book in a namespace where a few files are stand-ins."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder, self.tmp = folder, tmp
        for path, text in OVER.items():
            self.place(path).parent.mkdir(parents=True, exist_ok=True)
            self.place(path).write_text(text)
        for path in FOLDERS:
            self.place(path).mkdir(parents=True, exist_ok=True)
        self.place("/proc/sys/kernel/random").mkdir(parents=True)
        root = Root.directory(folder)
        host = read_host(root)
        host = host.model_copy(update={"system": host.system.model_copy(update={"arch": os.uname().machine})})
        found = audit(root, host, knobs=("vm.swappiness", "vm.vfs_cache_pressure"))
        for file in settings_files(found, host, made_at="2026-11-20T10:00:00Z"):
            target = tmp / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.text)

    def place(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def play(self, book: str, *args: str) -> tuple[int, dict[str, int], str]:
        """Exit status, the recap of the host, and the output."""
        mounts = [f"mount --bind {self.place(p)} {p}" for p in OVER]
        mounts += [f"mkdir -p {p}; mount --bind {self.place(p)} {p}" for p in FOLDERS]
        command = [ansible("ansible-playbook"), "-i", "inventory.yml", book, *args]
        options = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
        done = subprocess.run(
            ["unshare", *options, "sh", "-c", "\n".join(["set -e", *mounts, 'exec "$@"']), "sh", *command],
            cwd=self.tmp / "scripts" / "ansible",
            env={
                **os.environ,
                "ANSIBLE_BECOME": "false",
                "ANSIBLE_LOCAL_TEMP": str(self.tmp / "local"),
                "ANSIBLE_REMOTE_TEMP": str(self.tmp / "remote"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_LOCALHOST_WARNING": "false",
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        recap = re.search(r"^this-host +: (.*)$", done.stdout, re.MULTILINE)
        stats = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", recap[1] if recap else "")}
        return done.returncode, stats, done.stdout + done.stderr

    def values(self) -> tuple[str, str]:
        return tuple(self.place(p).read_text().strip() for p in list(OVER)[:2])  # type: ignore[return-value]


@pytest.mark.slow
def test_apply_check_second_run_status_and_undo(played: Played) -> None:
    book = "complete_optimize.yml"
    status, stats, said = played.play(book, "--check")
    assert status == 0, said
    assert stats["changed"] > 0
    assert played.values() == ("60", "100")
    assert not list(played.place("/etc/sysctl.d").iterdir())
    status, stats, said = played.play(book)
    assert status == 0, said
    assert played.values() == ("10", "50")
    assert (played.place("/etc/sysctl.d") / "99-zz-hwdiag.conf").exists()
    for again in ((), ("--check",)):
        status, stats, said = played.play(book, *again)
        assert (status, stats["changed"]) == (0, 0), said
    assert played.play(book, "-e", "optimization_action=status")[0] == 0
    played.place("/proc/sys/vm/swappiness").write_text("33\n")
    assert played.play(book, "-e", "optimization_action=status")[0] != 0
    status, stats, said = played.play("apply_non_persistent.yml")
    assert (status, played.values()) == (0, ("10", "50")), said
    status, stats, said = played.play(book, "-e", "optimization_action=undo")
    assert (status, played.values()) == (0, ("60", "100")), said
    assert not list(played.place("/etc/sysctl.d").iterdir())
    status, stats, said = played.play(book, "-e", "optimization_action=undo")
    assert (status, stats["changed"]) == (0, 0), said
    status, _, said = played.play(book, "-e", "optimization_action=aply")
    assert status != 0
    assert "optimization_action is apply, status or undo, not aply" in said


def test_they_pass_ansible_lint(tmp_path: Path) -> None:
    shutil.copytree(PLAYBOOKS, tmp_path / "ansible")
    lint = ansible("ansible-lint")
    books = sorted(str(p) for p in (tmp_path / "ansible").glob("*.yml"))
    path = f"{Path(lint).parent}:{os.environ['PATH']}"  # it calls ansible
    done = subprocess.run(
        [lint, "--offline", "--strict", "--profile", "production", "-q", *books],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
