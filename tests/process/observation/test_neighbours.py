"""Who else used the CPUs: what counts, what does not, and what is not shown."""

from __future__ import annotations

from pathlib import Path

from hwdiag.process.observation.neighbours import UNSEEN, Neighbours, busy_ticks
from hwdiag.process.observation.stat import TICKS, Stat

SECONDS = 10.0


def stat(ticks: float, started: int = 5, name: str = "job") -> Stat:
    return Stat(name, "S", 1, 0, int(ticks * TICKS), 0, 1, started, 0, 0, 0, 0, 0)


def neighbours(folder: Path, busy_s: float) -> Neighbours:
    (folder / "stat").write_text(f"cpu {int(busy_s * TICKS)} 0 0 77 0 0 0 99 0 0\ncpu0 0 0 0 0\n")
    return Neighbours(began=100, proc=str(folder))


def test_what_was_used_before_does_not_count_and_names_are_added_up(tmp_path: Path) -> None:
    found = neighbours(tmp_path, 0)
    found.look({7: stat(50), 8: stat(20), 9: stat(1)}, program=(), ours=())
    found.look({7: stat(53), 8: stat(24), 9: stat(1), 10: stat(2, started=200, name="new")}, program=(), ours=())
    told = {n.name: (n.processes, n.cpus) for n in found.found(SECONDS, None)}
    assert told == {"job": (2, 0.7), "new": (1, 0.2)}


def test_a_process_id_that_comes_again_is_another_process(tmp_path: Path) -> None:
    found = neighbours(tmp_path, 0)
    found.look({7: stat(50)}, program=(), ours=())
    found.look({7: stat(3, started=300)}, program=(), ours=())
    assert [n.cpus for n in found.found(SECONDS, None)] == [0.3]


def test_neither_the_program_nor_hwdiag_is_a_neighbour(tmp_path: Path) -> None:
    found = neighbours(tmp_path, 0)
    found.look({7: stat(0), 8: stat(0)}, program={7}, ours={8})
    found.look({7: stat(9), 8: stat(9)}, program={7}, ours={8})
    assert found.found(SECONDS, None) == ()


def test_work_of_processes_that_are_not_shown_is_told_where_it_is_known(tmp_path: Path) -> None:
    found = neighbours(tmp_path, 100)
    found.look({7: stat(0), 8: stat(0)}, program={7}, ours=())
    (tmp_path / "stat").write_text(f"cpu {120 * TICKS} 0 0 77 0 0 0 99 0 0\n")
    found.look({7: stat(6), 8: stat(4)}, program={7}, ours=())
    told = {n.name: n.cpus for n in found.found(SECONDS, program_cpu_s=8.0)}
    assert told == {"job": 0.4, UNSEEN: 0.8}, "20 s were busy, 8 for the program, 4 for the one that is shown"
    assert UNSEEN not in {n.name for n in found.found(SECONDS, None)}
    assert UNSEEN not in {n.name for n in found.found(SECONDS, program_cpu_s=15.0)}, "too little to say anything of"


def test_a_small_difference_on_a_large_machine_is_no_neighbour(tmp_path: Path) -> None:
    found = neighbours(tmp_path, 0)
    found.look({7: stat(0)}, program={7}, ours=())
    (tmp_path / "stat").write_text(f"cpu {640 * TICKS} 0 0 77 0 0 0 99 0 0\n")
    found.look({7: stat(620)}, program={7}, ours=())
    assert found.found(SECONDS, program_cpu_s=620.0) == (), "2 of 64 CPUs, as ticks and run times differ"


def test_steal_and_waiting_for_disks_are_no_programs_work() -> None:
    assert busy_ticks("cpu 10 20 30 1000 500 7 8 900 5 0\n") == 60
