"""Hostile names of hosts, GPUs, disks, mounts and folders through everything that is emitted: they stay data."""

from __future__ import annotations

import configparser
import json
import os
import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import PLAYBOOKS, settings_files
from hwdiag.audit.model import Row
from hwdiag.audit.persist import render_persistence
from hwdiag.audit.scripts import render_settings
from hwdiag.audit.tuned import render_tuned
from hwdiag.host.model import Disk, Host
from hwdiag.host.root import Root
from hwdiag.tune.comfyui import OPTIMIZED, render_comfyui
from tests.audit.fake_host import FakeHost
from tests.audit.test_settings_scripts import NVML, SYSTEMCTL, changes, fake
from tests.conftest import make_host
from tests.host.test_host_gpu import FakeNvml
from tests.vm.guest import Guest

__all__ = ["fake"]

PARTS = (
    *("$(touch /pwned)", "`touch /pwned`", "'", '"', "\n", "../", "-rf ", ";touch /pwned;", "|", "%0A", "\\", "\t"),
    *("*", "~", "\u202e", "]=1;touch /pwned;x[", "a", " ", "&", "#", "\x1b[31m", "{{ 7*7 }}", "USAGE", "é"),
    *("%h", "${f:exec:touch:/pwned}", "HWDIAG_END\ntouch /pwned\n", '", RUN+="/bin/touch /pwned'),
)
MADE_AT = "2026-11-20T10:00:00Z"


def evil(n: int) -> str:
    """The nth of as many names as one likes: each part by itself, then two to four of them."""
    return PARTS[n] if n < len(PARTS) else "".join(random.Random(n).choices(PARTS, k=2 + n % 3))


def test_there_are_enough_of_them() -> None:
    names = {evil(n) for n in range(208)}
    assert len(names) >= 200
    assert all(any(part in name for name in names) for part in PARTS)


def test_scripts_take_names_as_data(fake: FakeHost) -> None:
    """104 names of hosts, GPUs, disks, mounts through every verb: no command runs, nothing is written elsewhere."""
    base = fake.host(FakeNvml([NVML]))
    rows = audit(
        Root.directory(fake.folder), base, knobs=("gpu.persistence", "io.scheduler=kyber", "vm.swappiness")
    ).rows
    before = fake.everything()
    for n in range(26):
        host_name, gpu, disk, mount = (evil(4 * n + i) for i in range(4))
        system = base.system.model_copy(update={"hostname": host_name, "arch": os.uname().machine})
        host = base.model_copy(update={"system": system})
        named = []
        for row in rows:
            if row.knob == "gpu.persistence":
                row = row.model_copy(update={"where": (f"gpu {gpu} persistence_mode",), "why": gpu})
            elif row.knob == "io.scheduler":
                row = row.model_copy(update={"where": (f"/sys/block/{disk}/queue/scheduler",), "why": disk})
            elif row.knob == "vm.swappiness":
                row = row.model_copy(update={"why": host_name, "risk": mount})
            named.append(row)
        mounted = {"knob": "io.access_times", "where": (f"mount /{mount}",), "chosen": True, "wanted": "noatime"}
        named.append(rows[0].model_copy(update=mounted))
        escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in mount)
        fake.write("/proc/self/mountinfo", f"22 1 8:1 / /{escaped} rw,relatime - ext4 /dev/sda1 rw\n")
        before["/proc/self/mountinfo"] = fake.everything()["/proc/self/mountinfo"]
        for name, text in render_settings(named, host, made_at=mount).items():
            for verb in ("status", "diff", "apply", "undo"):
                done = fake.run(name, text, verb)
                assert done.returncode in (0, 1, 2), done.stderr
                assert "\x1b" not in done.stdout
                assert "syntax error" not in done.stderr, text
        assert changes(before, fake.everything()) == {}, (host_name, gpu, disk, mount)


def named_rows(base: Host, disk: str) -> tuple[Host, list[Row]]:
    """What is chosen on a host with a disk of this name, and rows with such names in every place."""
    model = evil(len(disk) * 7)
    host = base.model_copy(update={"disks": (Disk(name=disk, kind="sata", size_bytes=512 << 30, model=model),)})
    common = {"group": "io", "state": "differs", "chosen": True, "why": disk, "evidence": model, "risk": model}
    wanted = {
        f"/sys/block/{disk}/queue/scheduler": ("io.scheduler", "kyber"),
        "/proc/sys/vm/swappiness": ("vm.swappiness", "10"),
        "/sys/kernel/mm/transparent_hugepage/enabled": ("vm.thp", "madvise"),
        "/sys/module/zfs/parameters/zfs_prefetch_disable": ("zfs.prefetch_disable", "0"),
        "limit Max open files": ("limits.nofile", "65536"),
        f"gpu {disk} persistence_mode": ("gpu.persistence", "Enabled"),
        "gpu GPU-1 persistence_mode": ("gpu.persistence", "Enabled"),
        f"mount /{disk}": ("io.access_times", "noatime"),
        f"pool {disk} autotrim": ("zfs.autotrim", "on"),
        f"unit {disk}": ("io.trim_timer", "enabled"),
    }
    rows = [Row(knob=knob, where=(where,), wanted=to, **common) for where, (knob, to) in wanted.items()]
    return host, rows


LINES = {
    "/etc/sysctl.d/99-zz-hwdiag.conf": r"[a-z0-9_.]+ = [0-9]+",
    "/etc/tmpfiles.d/hwdiag.conf": r"w! /sys/kernel/mm/[a-z_/]+ - - - - [a-z]+",
    "/etc/modprobe.d/hwdiag-zfs.conf": r"options zfs [a-z_]+=[0-9]+",
    "/etc/security/limits.d/99-hwdiag.conf": r"(\*|root) (soft|-) [a-z]+ [0-9]+",
    "/etc/udev/rules.d/99-hwdiag.rules": r'ACTION=="add\|change", SUBSYSTEM=="block", ENV\{DEVTYPE\}=="disk", '
    r'ENV\{ID_(SERIAL|PATH)\}=="[A-Za-z0-9._:@/+-]+"(, ATTR\{queue/[a-z_]+\}="[a-z0-9-]+")+',
    "/etc/systemd/system/hwdiag-gpu.service": r"|\[[A-Z][a-z]+\]|[A-Z][A-Za-z]+=[A-Za-z0-9/._, -]+",
    "/etc/systemd/system/hwdiag-system.service": r"|\[[A-Z][a-z]+\]|[A-Z][A-Za-z]+=[A-Za-z0-9/._, -]+",
}
"""Every file that may be written in /etc, and what a line of it, but for comments, may be."""
UDEVADM = r"""#!/bin/bash
printf 'ID_SERIAL=%s\nID_PATH=pci-0000:00:1f.2-ata-1\n' "$(cat /serial)"
"""


def test_what_is_kept_over_a_reboot_holds_no_such_name(fake: FakeHost) -> None:
    """Disks with such names, models and serial numbers, through install, status and uninstall."""
    for name, text in (("systemctl", SYSTEMCTL), ("udevadm", UDEVADM)):
        fake.write(f"/local/{name}", text)
        (fake.folder / "local" / name).chmod(0o755)
    base = fake.host()
    ruled = 0
    for n in range(0, 208, 8):
        disk = evil(n).replace("/", "")
        host_name = base.system.model_copy(update={"hostname": evil(n + 1), "arch": os.uname().machine})
        host, rows = named_rows(base.model_copy(update={"system": host_name}), disk)
        fake.write("/serial", evil(n + 2))
        if disk not in ("", ".", ".."):
            fake.write(f"/sys/block/{disk}/size", f"{(512 << 30) // 512}\n")
            fake.write(f"/sys/block/{disk}/device/model", f"{host.disks[0].model}\n")
        scripts = render_settings(rows, host, made_at=evil(n + 3))
        (text,) = render_persistence(rows, host, scripts, made_at=evil(n + 3)).values()
        for script, body in scripts.items():
            fake.write(f"/scripts/{script}", body)
        before = fake.everything()
        done = fake.run("p", text, "install")
        assert done.returncode in (0, 1), done.stderr
        written = changes(before, fake.everything())
        ours = {"/libexec/hwdiag/system_optimize.sh", "/libexec/hwdiag/gpu_optimize.sh"}
        assert set(written) <= {*LINES, *ours}, n
        assert "/etc/sysctl.d/99-zz-hwdiag.conf" in written
        ruled += "/etc/udev/rules.d/99-hwdiag.rules" in written
        for path, pattern in LINES.items():
            if path in written:
                lines = (fake.folder / path.lstrip("/")).read_text().splitlines()
                assert [x for x in lines if not x.startswith("#") and not re.fullmatch(pattern, x)] == [], (n, path)
        assert "\x1b" not in done.stdout + fake.run("p", text, "status").stdout
        assert fake.run("p", text, "uninstall").returncode == 0
        assert changes(before, fake.everything()) == {}, n
    assert ruled > 10  # such disks get a rule by their port


def test_a_tuned_profile_has_no_more_than_its_own_words(fake: FakeHost) -> None:
    """TuneD expands * in a path, and runs a command that a ${f:exec:...} names."""
    base = fake.host()
    for n in range(208):
        system = base.system.model_copy(update={"hostname": evil(n)})
        host, rows = named_rows(base.model_copy(update={"system": system}), evil(n))
        profile = render_tuned(rows, host, made_at=evil(n))
        assert profile is not None
        assert "${" not in profile, n
        read = configparser.ConfigParser(interpolation=None, delimiters="=")
        read.read_string(profile)
        assert set(read.sections()) == {"main", "sysctl", "sysfs"}, n
        assert list(read["main"]) == ["summary"]
        assert dict(read["sysctl"]) == {"vm.swappiness": "10"}
        assert all(re.fullmatch(r"/sys/[A-Za-z0-9._/-]+", path) for path in read["sysfs"]), n


def test_comfyui_is_started_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """Folders, interpreters and launch scripts of such names; a host of such a name."""
    for n in range(208):
        name = evil(n).replace("/", "") + "x"
        folder, scripts = tmp_path / str(n) / name, tmp_path / str(n) / "scripts" / name
        folder.mkdir(parents=True)
        scripts.mkdir(parents=True)
        (folder / "main.py").write_text("")
        python = folder / f"python{name}"
        python.write_text('#!/bin/bash\nprintf "%s\\n" "$PWD" "$@"\n')
        python.chmod(0o755)
        launch = scripts / "launch.sh"
        launch.write_text('#!/bin/bash\nshift 2\nexec "$@"\n')
        launch.chmod(0o755)
        system = make_host().system.model_copy(update={"hostname": evil(n + 1)})
        host = make_host().model_copy(update={"system": system})
        texts = render_comfyui(host, str(folder), str(python), str(launch), made_at=evil(n + 2))
        for script, flags in (
            (OPTIMIZED, ["--cpu"]),
            ("comfyui-conservative.sh", ["--cpu", "--disable-all-custom-nodes"]),
        ):
            (scripts / script).write_text(texts[script])
            command = ["bash", scripts / script, "--force"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
            assert done.stdout == "\n".join([str(folder), "main.py", *flags, ""]), n
            assert re.fullmatch(r"(comfyui: forced: made for [^\x00-\x1f]*\n)?", done.stderr), n
        (word,) = (x for x in texts["comfyui.service"].splitlines() if x.startswith("ExecStart="))
        assert unquoted(word.removeprefix("ExecStart=")) == ["/bin/bash", str(scripts / OPTIMIZED)]
        assert all(re.fullmatch(r"|#.*|\[\w+\]|\w+=.*", x) for x in texts["comfyui.service"].splitlines())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(map(str, range(208)))
    assert not Path("/pwned").exists()


def unquoted(line: str) -> list[str]:
    """The words of a command line as systemd reads them (systemd.syntax(7), systemd.service(5))."""
    words = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        raw = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), quoted[0].encode())
        text = re.sub(r"\\(.)", r"\1", raw.decode()) if quoted[0] else quoted[1]
        words.append(text.replace("$$", "$").replace("%%", "%"))
    return words


def test_playbooks_hold_no_names(fake: FakeHost) -> None:
    templates = Path(__file__).parents[2] / "hwdiag/audit/templates/ansible"
    for n in range(0, 208, 9):
        base = fake.host(FakeNvml([{**NVML, "nvmlDeviceGetName": evil(n)}]))
        host = base.model_copy(update={"system": base.system.model_copy(update={"hostname": evil(n + 1)})})
        files = settings_files(
            audit(Root.directory(fake.folder), host, knobs=("vm.swappiness", "gpu.persistence")), host, made_at=evil(n)
        )
        books = {f.path.rpartition("/")[2]: f.text for f in files if "/ansible/" in f.path}
        assert books == {name: (templates / name).read_text() for name in PLAYBOOKS}
        assert all(re.fullmatch(r"scripts/[a-z_/]+\.(sh|yml|conf)", f.path) for f in files)


@pytest.mark.vm
def test_systemd_starts_what_is_meant(guest: Guest) -> None:
    """Units with such paths, started by a real systemd."""
    names = [evil(n).replace("/", "") + "x" for n in range(24)]
    units = {}
    for n, name in enumerate(names):
        launch = f"/run/evil/{n}/{name}/launch.sh"
        unit = render_comfyui(make_host(), "/x", "/x", launch, made_at=evil(n))["comfyui.service"]
        units[f"evil{n}"] = (f"/run/evil/{n}/{name}/{OPTIMIZED}", unit.replace("Restart=on-failure", "Type=oneshot"))
    place = (
        "import json, os, sys\n"
        "for unit, (script, text) in json.load(sys.stdin).items():\n"
        "    os.makedirs(os.path.dirname(script))\n"
        "    open(script, 'w').write('echo yes >\"${BASH_SOURCE[0]%/*}/started\"\\n')\n"
        "    open(f'/run/systemd/system/{unit}.service', 'w').write(text)\n"
    )
    done = guest.run(f"python3 -c {shlex.quote(place)}", stdin=json.dumps(units).encode())
    assert done.status == 0, done.stderr
    done = guest.run(
        f"systemctl daemon-reload; systemctl start {' '.join(units)}; ls -d /run/evil/*/*/started | wc -l; ls /pwned; "
        "rm -rf /run/evil /run/systemd/system/evil*.service; systemctl daemon-reload"
    )
    # A line end in a name makes ls print a line more: what counts is each folder's own file.
    assert "No such file" in done.stderr, done.stderr
    assert int(done.stdout.split()[0]) >= len(units), done.stdout + done.stderr
