"""Messages of programs that fail: as they are really written, and what must not be taken for one."""

from __future__ import annotations

import time

import pytest
import yaml

from hwdiag.explain.messages import GAP, messages, said
from hwdiag.explain.probes.ending import look
from hwdiag.process.observation.model import CgroupOfProcess
from hwdiag.process.observation.packages import packages
from tests.explain.observed import case, checks, ending, findings, process

REAL = {
    "openmp-value-invalid": ["\nlibgomp: Invalid value for environment variable OMP_NUM_THREADS"],
    "threads-refused": [
        "libgomp: Thread creation failed: Resource temporarily unavailable",
        "OpenBLAS blas_thread_init: pthread_create failed for thread 50 of 64: Resource temporarily unavailable\n"
        "OpenBLAS blas_thread_init: RLIMIT_NPROC 4096 current, 513046 max",
        "    _start_new_thread(self._bootstrap, ())\nRuntimeError: can't start new thread",
        "bash: fork: retry: Resource temporarily unavailable",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    ],
    "openmp-twice": ["OMP: Error #15: Initializing libiomp5.so, but found libomp.so already initialized."],
    "mkl-threading-layer": [
        "Error: mkl-service + Intel(R) MKL: MKL_THREADING_LAYER=INTEL is incompatible with libgomp.so.1 library."
    ],
    "mkl-not-loaded": ["Intel MKL FATAL ERROR: Cannot load libmkl_avx512.so or libmkl_def.so."],
    "onednn-primitive": [
        "RuntimeError: could not create a primitive descriptor for the matmul primitive. Run workload"
    ],
    "executable-stack": [
        "ImportError: libtorch_cpu.so: cannot enable executable stack as shared object requires: Invalid argument"
    ],
    "torchvision-operator": ["RuntimeError: operator torchvision::nms does not exist"],
    "symbol-undefined": [
        "ImportError: /opt/conda/lib/python3.10/site-packages/torch/lib/libtorch_cpu.so: undefined symbol: "
        "iJIT_NotifyEvent"
    ],
    "static-tls": ["ImportError: /lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block"],
    "preload-missing": [
        "ERROR: ld.so: object '/usr/lib/libtcmalloc.so.4' from LD_PRELOAD cannot be preloaded (cannot open shared "
        "object file): ignored."
    ],
    "libgl-missing": ["ImportError: libGL.so.1: cannot open shared object file: No such file or directory"],
    "cuda-library-missing": [
        "OSError: libcudart.so.11.0: cannot open shared object file: No such file or directory",
        "Could not load library libcudnn_cnn_infer.so.8. Error: libnvrtc.so: cannot open shared object file",
        "ImportError: libcupti.so.12: cannot open shared object file: No such file or directory",
    ],
    "library-missing": ["OSError: libsndfile.so.1: cannot open shared object file: No such file or directory"],
    "glibc-too-old": [
        "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by /opt/x/_C.so)",
        "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by "
        "/opt/conda/lib/python3.9/site-packages/scipy/linalg/_matfuncs.so)",
    ],
    "kernel-too-old": ["FATAL: kernel too old"],
    "wrong-architecture": ["exec /usr/bin/python3: Exec format error"],
    "numpy-abi": [
        "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.0.0 as it may crash.",
        "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header, got 88",
    ],
    "module-missing": ["ModuleNotFoundError: No module named 'einops'"],
    "cxx-compiler-missing": [
        "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found in "
        "torch._inductor.config.cpp.cxx: (None, 'g++')",
        "/bin/sh: 1: g++: not found",
        "FileNotFoundError: [Errno 2] No such file or directory: 'g++'",
    ],
    "c-compiler-missing": ["RuntimeError: Failed to find C compiler. Please specify via CC environment variable."],
    "python-headers-missing": ["/tmp/tmpx/main.c:5:10: fatal error: Python.h: No such file or directory"],
    "cxx-compile-failed": ["torch._inductor.exc.InductorError: CppCompileError: C++ compile error"],
    "ninja-missing": ["RuntimeError: Ninja is required to load C++ extensions (pip install ninja to get it)"],
    "cuda-no-kernel": ["RuntimeError: CUDA error: no kernel image is available for execution on the device"],
    "cuda-driver-too-old": [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"
    ],
    "cuda-no-driver": ["RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"],
    "cuda-not-compiled": ["AssertionError: Torch not compiled with CUDA enabled"],
    "cuda-out-of-memory": [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8 GiB"
    ],
    "cuda-assert": ["RuntimeError: CUDA error: device-side assert triggered"],
    "cuda-illegal-access": ["RuntimeError: CUDA error: an illegal memory access was encountered"],
    "cuda-after-fork": [
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use "
        "the 'spawn' start method"
    ],
    "nvml-mismatch": ["Failed to initialize NVML: Driver/library version mismatch"],
    "cuda-busy": ["RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable"],
    "main-not-guarded": [
        "RuntimeError: \n        An attempt has been made to start a new process before the\n        current process "
        "has finished its bootstrapping phase."
    ],
    "daemon-with-children": ["AssertionError: daemonic processes are not allowed to have children"],
    "not-picklable": ["AttributeError: Can't pickle local object 'main.<locals>.<lambda>'"],
    "address-in-use": [
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. "
        "port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"
    ],
    "rank-failed": ["torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "],
    "collective-timeout": [
        "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=8, OpType=ALLREDUCE) ran for 600029 ms"
    ],
    "gloo-interface": [
        "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error",
        "ValueError: [enforce fail] . makeDeviceForHostname(): unsupported gloo device",
    ],
    "rendezvous": [
        "torch.distributed.DistNetworkError: The client socket has timed out after 300000ms while trying to connect to",
        "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the C10d store failed",
    ],
    "shared-memory-full": [
        "OSError: [Errno 28] No space left on device: '/dev/shm/joblib_memmapping_folder_4171/x.pkl'",
        "OSError: [Errno 28] No space left on device: '/psm_21467_46075'",
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "RuntimeError: DataLoader worker (pid 13) is killed by signal: Bus error. It is possible that dataloader's",
        "RuntimeError: unable to write to file </torch_4171_1_0>: No space left on device (28)",
    ],
    "open-files": [
        "OSError: [Errno 24] Too many open files",
        "RuntimeError: received 0 items of ancdata",
    ],
    "disk-full": ["OSError: [Errno 28] No space left on device: '/data/run/model.pt'"],
    "file-too-large": ["OSError: [Errno 27] File too large"],
    "no-execution": [
        "ImportError: /tmp/inductor/ab/cab.so: failed to map segment from shared object: Operation not permitted"
    ],
    "weights-only": ["_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you"],
    "module-hidden": [
        "AttributeError: partially initialized module 'torch' has no attribute 'nn' (most likely due to",
        "ImportError: cannot import name 'x' from partially initialized module 'random' (most likely due to a circular",
    ],
    "no-input": ["EOFError: EOF when reading a line"],
    "not-permitted": ["PermissionError: [Errno 13] Permission denied: '/root/.cache/huggingface'"],
    "memory-refused": [
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 40000000000 bytes. Error code 12 (Cannot allocate memory)",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array with shape (10000000000,)",
    ],
    "worker-killed": ["RuntimeError: DataLoader worker (pid 991) is killed by signal: Killed. "],
    "worker-crashed": ["RuntimeError: DataLoader worker (pid 4) is killed by signal: Segmentation fault. "],
    "hub-offline": [
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them"
    ],
    "checkpoint-on-cuda": [
        "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you"
    ],
    "checkpoint-broken": ["RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central"],
    "read-only": ["OSError: [Errno 30] Read-only file system: '/root/.cache'"],
    "illegal-instruction": ["run.sh: line 3:  4171 Illegal instruction     (core dumped) python train.py"],
    "segmentation-fault": ["Fatal Python error: Segmentation fault\n\nThread 0x00007f1 (most recent call first):"],
    "aborted": ["double free or corruption (!prev)"],
}
"""By the id of what they mean."""


@pytest.mark.parametrize(("id_", "text"), [(id_, text) for id_, texts in REAL.items() for text in texts])
def test_a_message_is_found_as_it_is_really_written(id_: str, text: str) -> None:
    found = said(ending(1, f"Traceback (most recent call last):\n{text}\n"))
    assert [s.message.id for s in found] == [id_]


def test_there_are_at_least_fifty_and_each_has_a_source_and_a_way_out() -> None:
    assert len(messages()) >= 50
    ids = [m.id for m in messages()]
    assert len({*ids}) == len(ids)
    for message in messages():
        assert message.source
        assert message.limit or (message.cause and message.remedy)
        assert message.says or message.signal
        for text in message.says:
            gaps = GAP.findall(text)
            assert len({*gaps}) == len(gaps), "a gap's name stands once"
            assert not [*GAP.finditer(text.replace("} {", "}{"))] or "}{" not in text, "no gap touches the next"
    assert set(REAL) <= set(ids)


def test_looking_takes_time_in_proportion_to_the_text_whatever_it_is() -> None:
    worst = "pthread_create failed for thread of : of : of : " * 45 + "\n"
    before = time.process_time()
    said(ending(1, (worst * 3000)[: 1 << 20], "operator torchvision::" * 100_000))
    assert time.process_time() - before < 2


def test_each_line_tells_one_message_and_a_message_is_told_once() -> None:
    text = (
        "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. \n"
        "The above exception was the direct cause:\n"
        "RuntimeError: DataLoader worker (pid(s) 7) exited unexpectedly\n"
    )
    assert [s.message.id for s in said(ending(1, text))] == ["worker-killed"]


def test_warnings_alone_count_where_the_program_ended_well() -> None:
    text = "libgomp: Invalid value for environment variable OMP_NUM_THREADS\nRetrying after MemoryError\n"
    assert [s.message.id for s in said(ending(0, text))] == ["openmp-value-invalid"]
    found = findings([*look(case(process(), ending=ending(0, text)))])
    assert found["openmp-value-invalid"].severity == "warning"
    assert "unset OMP_NUM_THREADS" in found["openmp-value-invalid"].detail


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("libgomp: Invalid value for environment variable OMP_NUM_THREADS\nIllegal instruction\n",
         ["openmp-value-invalid", "illegal-instruction"]),
        ("InductorError: CppCompileError: C++ compile error\nfatal error: Python.h: No such file or directory\n",
         ["python-headers-missing"]),
        ("InductorError: CppCompileError: C++ compile error\n", ["cxx-compile-failed"]),
    ],
)  # fmt: skip
def test_a_vague_message_is_told_beside_warnings_and_not_beside_what_says_more(text: str, ids: list[str]) -> None:
    """A warning took the place of an illegal instruction."""
    assert [s.message.id for s in said(ending(1, text))] == ids


def test_both_versions_are_named_where_torch_and_torchvision_do_not_fit() -> None:
    versions = {"torch": "2.2.1+cpu", "torchvision": "0.17.1"}
    text = "RuntimeError: operator torchvision::nms does not exist\n"
    found = findings([*look(case(process(), ending=ending(1, text), packages=versions))])["torchvision-operator"]
    assert "torch 2.2.1+cpu and torchvision 0.17.1 are not of one build" in found.title
    assert "exit status 1" in found.title


def test_what_a_program_writes_is_no_template_and_steers_no_terminal() -> None:
    text = "ModuleNotFoundError: No module named '{python}\x1b[31m{torch}'\n"
    found = findings([*look(case(process(), ending=ending(1, text)))])["module-missing"]
    assert "{python}" in found.title
    assert "\x1b" not in found.title + found.detail


def test_the_signal_tells_where_no_line_does() -> None:
    found = findings([*look(case(process(), ending=ending(-4)))])
    assert "illegal instruction" in found["illegal-instruction"].title
    found = findings([*look(case(process(), ending=ending(128 + 11)))])
    assert "exit status 139, as after SIGSEGV" in found["segmentation-fault"].title


def test_the_traceback_of_a_rank_is_told_and_not_that_torchrun_saw_one_fail() -> None:
    told = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
    text = f"RuntimeError: CUDA error: device-side assert triggered\n{told}"
    assert [s.message.id for s in said(ending(1, text))] == ["cuda-assert"]
    assert [s.message.id for s in said(ending(1, told))] == ["rank-failed"]


@pytest.mark.parametrize("status", [1, 3, -6, 139, 255])
def test_an_unknown_end_is_told_with_its_last_line_and_is_never_fine(status: int) -> None:
    answers = [*look(case(process(), ending=ending(status, "reading the data\nmy own trouble: 42\n\n")))]
    assert not checks(answers)
    [found] = findings(answers).values()
    assert found.severity == "problem"
    assert "my own trouble: 42" in found.title + found.detail


def test_an_end_that_a_limit_explains_is_told_once() -> None:
    group = CgroupOfProcess(path="/a", memory_limit_bytes=1 << 30, oom_kills=1)
    assert not [*look(case(process(cgroup=group), ending=ending(1, "the job failed\n")))]
    near = process(most_open_files=1000)
    assert "ended" in findings([*look(case(near, ending=ending(1, "the job failed\n")))])


def test_a_program_that_said_nothing_and_failed_is_told_of() -> None:
    [found] = findings([*look(case(process(), ending=ending(7)))]).values()
    assert "exit status 7" in found.title
    assert "faulthandler" in found.detail


def test_a_good_end_and_ctrl_c_are_no_findings() -> None:
    for end in (ending(0, "loss 0.3\n"), ending(-2), ending(130, "KeyboardInterrupt\n"), ending(1, asked_to_end=2)):
        answers = [*look(case(process(), ending=end))]
        assert not findings(answers)
        assert checks(answers)["ending"].state == "fine"
    text = "Traceback (most recent call last):\n  ...\nValueError: in a child\n"
    assert "ValueError: in a child" in checks([*look(case(process(), ending=ending(0, text)))])["ending"].detail


def test_versions_are_those_that_lie_beside_what_the_traceback_names() -> None:
    assert packages([f'  File "{yaml.__file__}", line 3, in <module>'])["torch"].startswith("2.")
    assert packages(["nothing here", "/site-packages/" * 10000]) == {}
