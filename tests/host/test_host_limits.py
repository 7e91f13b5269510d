"""Control groups of both versions, and the other limits."""

from __future__ import annotations

import pytest

from hwdiag.host.cgroup import read_throttled_s
from hwdiag.host.limits import read_limits

from .conftest import MakeTree

ONLINE = tuple(range(8))

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
)


def test_version_2_takes_the_tightest_of_all_ancestors(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/mountinfo": V2_MOUNT,
            "/proc/self/cgroup": "0::/outer/inner\n",
            "/sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
            "/sys/fs/cgroup/outer/inner/cpu.max": "400000 100000\n",
            "/sys/fs/cgroup/outer/memory.max": "max\n",
            "/sys/fs/cgroup/outer/inner/memory.max": "1073741824\n",
            "/sys/fs/cgroup/outer/inner/cpuset.cpus.effective": "0-3\n",
            "/sys/fs/cgroup/outer/inner/cpuset.mems.effective": "0\n",
        }
    )
    limits = read_limits(root, ONLINE, nodes=(0, 1))
    assert limits.cgroup_version == 2
    assert limits.cpu_quota == 1.5
    assert limits.memory_limit_bytes == 1 << 30
    assert limits.cpuset == limits.allowed == (0, 1, 2, 3)
    assert limits.mems == (0,)
    assert root.gaps == ()


def test_version_2_without_limits(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/mountinfo": V2_MOUNT,
            "/proc/self/cgroup": "0::/\n",
            "/sys/fs/cgroup/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/memory.max": "max\n",
            "/sys/fs/cgroup/cpuset.cpus.effective": "0-7\n",
        }
    )
    limits = read_limits(root, ONLINE)
    assert (limits.cpu_quota, limits.memory_limit_bytes, limits.cpuset) == (None, None, None)
    assert limits.cgroup_version == 2


def test_version_1(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/mountinfo": V1_MOUNTS,
            "/proc/self/cgroup": "4:memory:/job\n3:cpuset:/job\n2:cpu,cpuacct:/job/step\n1:name=systemd:/x\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "50000\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2147483648\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "/sys/fs/cgroup/cpuset/job/cpuset.cpus": "2-3\n",
        }
    )
    limits = read_limits(root, ONLINE)
    assert limits.cgroup_version == 1
    assert limits.cpu_quota == 5
    assert limits.memory_limit_bytes == 2 << 30
    assert limits.cpuset == (2, 3)


def test_version_1_without_limits(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/mountinfo": V1_MOUNTS,
            "/proc/self/cgroup": "4:memory:/\n2:cpu,cpuacct:/\n",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    limits = read_limits(root, ONLINE)
    assert (limits.cpu_quota, limits.memory_limit_bytes) == (None, None)


def test_both_versions_at_once(tree: MakeTree) -> None:
    """systemd's hybrid mode: version 2 is there, but version 1 has the controllers."""
    root = tree(
        {
            "/proc/self/mountinfo": V1_MOUNTS + "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            "/proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a\n0::/b\n",
            "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
            "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4096\n",
            "/sys/fs/cgroup/unified/b/memory.max": "2048\n",
        }
    )
    limits = read_limits(root, ONLINE)
    assert limits.cgroup_version == 1
    assert limits.cpu_quota == 0.5
    assert limits.memory_limit_bytes == 2048


def test_a_container_sees_its_own_group_as_the_mounted_one(tree: MakeTree) -> None:
    """Docker without a cgroup namespace: the path is the host's, and mountinfo says what of it is mounted."""
    root = tree(
        {
            "/proc/self/mountinfo": "40 39 0:30 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            "/proc/self/cgroup": "5:memory:/docker/1f/sub\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "8192\n",
            "/sys/fs/cgroup/memory/sub/memory.limit_in_bytes": "16384\n",
        }
    )
    assert read_limits(root, ONLINE).memory_limit_bytes == 8192


def test_a_group_outside_of_the_namespace(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/mountinfo": V2_MOUNT,
            "/proc/self/cgroup": "0::/../../elsewhere\n",
            "/secret/memory.max": "1\n",
            "/sys/fs/cgroup/memory.max": "4096\n",
        }
    )
    assert read_limits(root, ONLINE).memory_limit_bytes == 4096


def test_mounts_without_mountinfo_at_an_odd_place(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/mounts": "none /cgroup/my\\040groups cgroup2 rw 0 0\n",
            "/proc/self/cgroup": "0::/job\n",
            "/cgroup/my groups/job/cpu.max": "200000 100000\n",
        }
    )
    assert read_limits(root, ONLINE).cpu_quota == 2


@pytest.mark.parametrize("text", ["lots 100000", "100000 0", "-5 100000", "100000 soon"])
def test_a_broken_quota_is_a_gap(tree: MakeTree, text: str) -> None:
    root = tree(
        {"/proc/self/mountinfo": V2_MOUNT, "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": f"{text}\n"}
    )
    assert read_limits(root, ONLINE).cpu_quota is None
    assert [g.what for g in root.gaps] == ["/sys/fs/cgroup"]


def test_affinity_and_cpuset_together(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/status": "Name:\tx\nCpus_allowed_list:\t2-5\nMems_allowed_list:\t0-127\n",
            "/proc/self/mountinfo": V2_MOUNT,
            "/proc/self/cgroup": "0::/\n",
            "/sys/fs/cgroup/cpuset.cpus.effective": "0-3\n",
        }
    )
    limits = read_limits(root, ONLINE, nodes=(0, 1))
    assert limits.allowed == (2, 3)
    assert limits.mems == (0, 1)


def test_resource_limits(tree: MakeTree) -> None:
    root = tree(
        {
            "/proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n"
            "Max open files            1024                 1048576              files     \n"
            "Max locked memory         8388608              unlimited            bytes     \n"
        }
    )
    limits = read_limits(root, ONLINE)
    assert limits.nofile == (1024, 1048576)
    assert limits.memlock_bytes == (8388608, None)


def test_nothing_known(tree: MakeTree) -> None:
    limits = read_limits(tree({"/proc/version": ""}), ONLINE)
    assert limits.allowed == ()
    assert limits.nofile is None
    assert limits.cgroup_version is None


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({"/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "/proc/self/cgroup": "0::/a"}, None),
        (
            {
                "/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
                "/proc/self/cgroup": "0::/a",
                "/sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_throttled 3\nthrottled_usec 2500000",
            },
            2.5,
        ),
        (
            {
                "/proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0",
                "/proc/self/cgroup": "3:cpu:/a",
                "/sys/fs/cgroup/cpu/a/cpu.stat": "nr_periods 9\nthrottled_time 1500000000\nbroken",
            },
            1.5,
        ),
    ],
)
def test_time_that_a_quota_took(tree: MakeTree, files: dict[str, str], seconds: float | None) -> None:
    assert read_throttled_s(tree(files)) == seconds
