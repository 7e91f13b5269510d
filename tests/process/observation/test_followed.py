"""What is kept of one process: points of memory, variables, libraries, limits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hwdiag.process.observation.followed import MOST_POINTS, FollowedProcess
from hwdiag.process.observation.kept_environment import kept, parse_environment, without_ours
from hwdiag.process.observation.mapped import has_torch, mapped_files, notable
from hwdiag.process.observation.model import ResourceLimits
from hwdiag.process.observation.resource_limits import parse_limits
from hwdiag.process.observation.stat import Stat, parse_stat

LINE = (
    b"4711 (a) b (c) S 1 4711 4711 0 -1 4194560 100 0 12 0 250 50 0 0 20 5 3 0 9000 8192000 300 18446744073709551615 "
    b"1 1 140722 0 0 0 0 0 0 0 0 0 17 3 0 3 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_a_stat_line_is_read_whatever_the_name_holds() -> None:
    stat = parse_stat(LINE)
    assert stat is not None
    assert (stat.name, stat.state, stat.parent, stat.major_faults, stat.ticks) == ("a) b (c", "S", 1, 12, 300)
    assert (stat.nice, stat.threads, stat.started, stat.mapped, stat.stack) == (5, 3, 9000, 8192000, 140722)
    assert (stat.cpu, stat.policy) == (3, 3)
    assert parse_stat(b"") is None
    assert parse_stat(b"4711 (name) S 1") is None


def test_a_long_life_has_few_points_of_memory_and_always_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    stat = parse_stat(LINE)
    assert stat is not None
    process = FollowedProcess(7, stat, began=0, clean=lambda found: found, proc=str(tmp_path))
    for n in range(5000):
        (folder / "status").write_text(f"Uid:\t0\t0\t0\t0\nVmSize:\t{n} kB\nVmRSS:\t{n} kB\n")
        process.look(Stat(*stat), float(n))
    points = process.found().memory
    assert MOST_POINTS // 3 < len(points) <= MOST_POINTS
    assert (points[0].seconds, points[-1].seconds) == (0, 4999)
    assert points[-1].resident_bytes == 4999 * 1024
    gaps = {b.seconds - a.seconds for a, b in pairwise(points[:-1])}
    assert gaps == {32.0}, "they lie evenly"
    few = process.found(detail=0.1).memory
    assert 8 < len(few) <= MOST_POINTS // 10 + 1
    assert (few[0], few[-1]) == (points[0], points[-1])


def test_of_mapped_files_those_that_decide_about_speed_are_kept() -> None:
    maps = "\n".join(
        f"7f00-7f01 r-xp 00000000 fe:00 1    {path}"
        for path in (
            "/usr/lib/libc.so.6",
            "/opt/torch/lib/libgomp-a34b3233.so.1",
            "/opt/torch/lib/libgomp-a34b3233.so.1",
            "/opt/intel/libiomp5.so",
            "/opt/torch/lib/libtorch_cpu.so",
            "/site/numpy.libs/libscipy_openblas64_-32a4b2a6.so",
            "/opt/mkl/libmkl_rt.so.2",
            "/usr/lib/libtcmalloc_minimal.so.4 (deleted)",
            "/my folder/libmine.so",
            "/usr/lib/libssl.so.3",
            "/data/libtorch-notes.txt",
        )
    )
    maps += "\n7f02-7f03 rw-p 00000000 00:00 0    [heap]\n7f04-7f05 rw-p 00000000 00:00 0"
    files = mapped_files(maps)
    assert [path.rpartition("/")[2] for path in notable(files, "/my folder/libmine.so")] == [
        "libgomp-a34b3233.so.1",
        "libiomp5.so",
        "libtorch_cpu.so",
        "libscipy_openblas64_-32a4b2a6.so",
        "libmkl_rt.so.2",
        "libtcmalloc_minimal.so.4",
        "libmine.so",
    ]
    assert has_torch(files)
    assert not has_torch(("/usr/lib/libc.so.6", "/home/libtorch/bin/tool"))


def test_a_preloaded_library_is_known_by_the_file_that_its_link_leads_to(tmp_path: Path) -> None:
    file = tmp_path / "libmine.so.4.5.9"
    file.touch()
    link = tmp_path / "libmine.so.4"
    link.symlink_to(file)
    assert notable((str(file), "/usr/lib/libc.so.6"), f"/missing.so {link}") == (str(file),)


def test_variables_that_nothing_of_interest_reads_are_dropped() -> None:
    found = kept(
        parse_environment(b"OMP_NUM_THREADS=2\0MY_NAME=x\0HF_TOKEN=s\0WANDB_API_KEY=s\0LD_PRELOAD=a:b\0broken\0RANK=0")
    )
    assert found == {"OMP_NUM_THREADS": "2", "LD_PRELOAD": "a:b", "RANK": "0"}
    assert len(kept({f"OMP_{n}": "x" * 9999 for n in range(9999)})) <= 400


def test_what_hwdiag_added_is_taken_out_and_what_the_program_added_stays() -> None:
    ours = {"PYTHONPATH": "/w:/mine", "HWDIAG_MARKS": "/tmp/m"}
    before = {"PYTHONPATH": "/mine"}
    assert without_ours({"PYTHONPATH": "/w:/mine", "HWDIAG_MARKS": "/tmp/m", "A": "1"}, ours, before) == {
        "PYTHONPATH": "/mine",
        "A": "1",
    }
    assert without_ours({"PYTHONPATH": "/its:/w:/mine"}, ours, before) == {"PYTHONPATH": "/its:/mine"}
    assert without_ours({"PYTHONPATH": "/other"}, ours, before) == {"PYTHONPATH": "/other"}


def test_limits_are_read() -> None:
    text = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        "Max open files            256                  4096                 files     \n"
        "Max address space         8589934592           unlimited            bytes     \n"
    )
    assert parse_limits(text) == ResourceLimits(open_files=256, address_space_bytes=8 << 30)
    assert parse_limits("") == ResourceLimits()
