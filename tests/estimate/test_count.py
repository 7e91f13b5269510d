"""Counting: against what is published, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwdiag.catalogue.parts import catalogue
from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.estimate.calibrate import OPERATIONS
from hwdiag.estimate.estimate import estimate_part
from hwdiag.estimate.model import Point
from hwdiag.estimate.rates import described, described_point
from hwdiag.experiment.net_count import Count, NetSpec, count_nets
from hwdiag.process.net_child import ask_once

OWN = Path(__file__).with_name("nets_of_tests.py")
pytest.importorskip("torch")


def own(function: str, **more: object) -> NetSpec:
    return NetSpec.model_validate({"net": f"{OWN}:{function}", **more})


def count(spec: NetSpec) -> Count:
    return count_nets(sys.executable, [spec])[0]


# GFLOP of one run, million parameters and their sources. Multiply-adds count twice.
TORCHVISION = "torchvision's model table, GFLOPS"
PUBLISHED = {
    "resnet18": (2 * 1.814, 11.69, TORCHVISION),
    "resnet50": (2 * 4.089, 25.56, TORCHVISION),
    "mobilenetv2": (2 * 0.301, 3.50, TORCHVISION),
    "convnext-t": (2 * 4.456, 28.59, TORCHVISION),
    "convnext-l": (2 * 34.361, 197.77, TORCHVISION),
    "vit-b": (2 * 17.564, 86.57, TORCHVISION),
    "vit-l": (2 * 61.555, 304.33, TORCHVISION),
    "vit-h": (2 * 167.295, 632.05, TORCHVISION),
    # Of its 178.722 billion multiply-adds, 9.97 are in an auxiliary head of two layers that only training needs.
    "deeplabv3-r50": (2 * (178.722 - (1024 * 256 * 9 + 256 * 21) * 65 * 65 / 1e9), 39.63, TORCHVISION),
    "resnet101": (2 * 7.801, 44.55, TORCHVISION),
    "efficientnet-b0": (2 * 0.386, 5.29, TORCHVISION),
    "swin-t": (2 * 4.491, 28.29, TORCHVISION),
    # Kaplan et al. 2020, table 1: 2 N + 2 layers x tokens x width a token, here with both halves of the attention.
    "bert-large": (2 * 512 * 24 * (12 * 1024**2 + 2 * 512 * 1024) / 1e9, 335.14, "Devlin et al. 2019: 340M"),
    "gpt2-xl": (2 * 512 * (48 * (12 * 1600**2 + 2 * 512 * 1600) + 50257 * 1600) / 1e9, 1557.6, "Radford et al. 2019"),
    "llama-7b": (2 * 512 * (6607e6 + 32 * 2 * 512 * 4096) / 1e9, 6738.4, "Touvron et al. 2023: 6.7B"),
}


@pytest.fixture(scope="module")
def counts() -> dict[str, Count]:
    """All published nets, counted by one child as a person's notebook does."""
    pytest.importorskip("transformers")
    specs = [NetSpec(net=name, side=520 if name == "deeplabv3-r50" else None) for name in PUBLISHED]
    specs += [
        NetSpec(net="llama-7b", phase="decode", tokens=512, dtype="bfloat16"),
        NetSpec(net="gpt2", phase="decode", tokens=128, batch=4),
        NetSpec(net="mixtral-8x7b", phase="decode", tokens=16),
        NetSpec(net="mixtral-8x7b", tokens=128),
        NetSpec(net="whisper-base"),
    ]
    return {c.spec.title: c for c in count_nets(sys.executable, specs)}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(counts: dict[str, Count], name: str) -> None:
    found = next(c for c in counts.values() if c.spec.net == name and c.spec.phase == "prefill")
    gflop, parameters, _ = PUBLISHED[name]
    assert found.flops / 1e9 == pytest.approx(gflop, rel=0.01)
    assert found.parameters / 1e6 == pytest.approx(parameters, rel=0.01)


@pytest.mark.slow
def test_it_takes_less_than_five_seconds_and_one_gigabyte(counts: dict[str, Count]) -> None:
    took = {title: c.cpu_s for title, c in counts.items()}  # others may be busy here
    assert all(seconds is not None and seconds < 5 for seconds in took.values()), took
    assert all(c.peak_rss_bytes is not None and c.peak_rss_bytes < 10**9 for c in counts.values())


@pytest.mark.slow
def test_decoding_reads_weights_and_cache_once(counts: dict[str, Count]) -> None:
    llama = counts["llama-7b decode, 512 tokens"]
    assert llama.flops / 1e9 == pytest.approx(13.48, rel=0.01)
    assert llama.touched_bytes / 1e9 == pytest.approx(13.2, rel=0.01)
    assert llama.kv_bytes == 2 * 32 * 512 * 4096 * 2
    assert llama.least_bytes < 1.03 * (llama.touched_bytes + llama.kv_bytes)
    assert llama.unfused_bytes > llama.least_bytes
    gpt2 = counts["gpt2 decode, 128 tokens, batch 4"]
    assert gpt2.kv_bytes == 4 * 2 * 12 * 128 * 768 * 4
    # LLaMA's linear layers keep their weights transposed, GPT-2's as they are multiplied.
    assert {o.strided for o in llama.operations if o.kind == "gemm" and o.weight_bytes} == {True}
    assert {o.strided for o in gpt2.operations if o.name == "addmm"} == {False}


@pytest.mark.slow
def test_a_mixture_of_experts_reads_what_is_active(counts: dict[str, Count]) -> None:
    step, prompt = counts["mixtral-8x7b decode, 16 tokens"], counts["mixtral-8x7b, 128 tokens"]
    assert step.parameters / 1e9 == pytest.approx(46.7, rel=0.01)
    # Two of eight experts: 12.9 billion active parameters (Jiang et al. 2024), less an embedding of 0.13.
    assert step.flops / 2 / 1e9 == pytest.approx(12.9 - 0.13, rel=0.01)
    assert 12.0e9 < step.touched_bytes / 4 < 12.9e9
    assert prompt.touched_bytes / 4 == pytest.approx(46.6e9, rel=0.01)


@pytest.mark.slow
def test_attention_is_counted(counts: dict[str, Count]) -> None:
    for name in ("bert-large", "vit-l", "gpt2-xl"):
        found = next(c for c in counts.values() if c.spec.net == name)
        assert sum(o.flops for o in found.operations if o.kind.startswith("attention")) > 0
    assert not any(c.uncounted for c in counts.values())


OWN_NETS = ("linear", "shared", "elementwise", "attention", "encoder", "lstm", "inference", "scan", "signals")


@pytest.fixture(scope="module")
def own_counts() -> dict[str, Count]:
    """The nets of this folder, counted by one child; ``half`` is ``linear`` in bfloat16."""
    specs = [*map(own, OWN_NETS), own("linear", dtype="bfloat16")]
    return dict(zip((*OWN_NETS, "half"), count_nets(sys.executable, specs), strict=True))


def test_a_net_of_ones_own(own_counts: dict[str, Count]) -> None:
    found, half = own_counts["linear"], own_counts["half"]
    assert found.flops == 2 * 4 * (64 * 128 + 128 * 8)
    assert found.parameters == 64 * 128 + 128 + 128 * 8 + 8
    assert found.touched_bytes == 4 * found.parameters
    assert half.touched_bytes == found.touched_bytes / 2
    assert half.flops == found.flops


def test_what_a_call_brings_is_its_samples(own_counts: dict[str, Count]) -> None:
    assert own_counts["linear"].samples == 4
    assert own_counts["attention"].samples == 1
    part = catalogue()["epyc-9654"]
    estimate = estimate_part(own_counts["linear"], part, "float32")
    assert estimate.per_second == pytest.approx(4 / estimate.likely)


def test_a_net_of_ones_own_takes_other_sizes() -> None:
    """By arguments where its function has them, else by inputs of another length."""
    specs = [
        own("texts"),
        own("texts", batch=5, resize=True, tokens=7),
        own("plain_texts"),
        own("plain_texts", batch=2, resize=True, tokens=4),
        own("no_common_batch"),
    ]
    found = count_nets(sys.executable, specs)
    assert [c.samples for c in found] == [2, 5, 8, 2, None]
    assert [c.flops for c in found] == [2 * n * 32 * 32 for n in (2 * 16, 5 * 7, 8 * 16, 2 * 4)] + [2 * 4 * 8 * 3]
    with pytest.raises(UsageError, match="share no first dimension, so which is the batch is not known"):
        count(own("no_common_batch", batch=2, resize=True))


def test_a_decoder_of_ones_own_decodes() -> None:
    pytest.importorskip("transformers")
    step = count(own("small_llama", phase="decode", batch=6, resize=True, tokens=64))
    assert step.kv_bytes == 2 * 2 * 6 * 64 * 2 * 16 * 4
    assert step.samples == 6


def test_seldom_operations_are_known(own_counts: dict[str, Count]) -> None:
    """Spectra, warped images, distances, bags of rows and recurrences."""
    names = {o.name for o in own_counts["signals"].operations}
    assert {"_fft_r2c", "_fft_c2r", "grid_sampler_2d", "_euclidean_dist", "_embedding_bag"} <= names
    bag = next(o for o in own_counts["signals"].operations if o.name == "_embedding_bag")
    assert bag.weight_bytes == 2 * 5 * 32 * 4
    gru = 2 * 2 * 40 * 3 * 48 * (32 + 48)
    assert own_counts["signals"].flops == pytest.approx(gru, rel=0.01)


def test_a_scan_waits_for_each_of_its_steps(own_counts: dict[str, Count]) -> None:
    """A thousand steps of three operations that wait for one another cost three thousand starts."""
    part = catalogue()["epyc-9654"]
    for software in ("eager", "engine"):
        assert estimate_part(own_counts["scan"], part, "float32", software=software).likely > 3000 * 2e-6


def test_weights_that_two_layers_share_count_once(own_counts: dict[str, Count]) -> None:
    found = own_counts["shared"]
    assert found.weights_bytes == found.touched_bytes == 64 * 64 * 4
    assert found.parameters == 64 * 64


def test_what_other_counters_miss(own_counts: dict[str, Count]) -> None:
    """Attention on the CPU, the encoder's fast path, LSTM and batch norm under inference mode."""
    attention, encoder, lstm, inference = (own_counts[n] for n in ("attention", "encoder", "lstm", "inference"))
    assert attention.flops == 4 * 8 * 128 * 128 * 64
    assert encoder.flops == 2 * 2 * (16 * (4 * 64 * 64 + 2 * 64 * 128) + 2 * 16 * 16 * 64)
    assert lstm.flops == 2 * 2 * 10 * 4 * 48 * (32 + 48)
    assert {o.kind for o in inference.operations} == {"conv", "norm"}
    assert {o.dims for o in inference.operations if o.kind == "norm"} == {(8, 256)}  # channels, and pixels of each
    assert {o.dims for o in encoder.operations if o.kind == "norm"} == {(32, 64)}  # tokens, and their width


def test_what_is_timed_is_described_as_what_is_counted(own_counts: dict[str, Count]) -> None:
    """A calibration's operation and the same one in a net: the same table, the same features, the same bytes."""
    seen = set()
    for operation in own_counts["elementwise"].operations:
        name, features, work = described(operation)
        seen.add(name)
        image = operation.kind in ("norm", "pool") and name != "layer_norm"
        dims = (32 * 784, 784) if image else (128 * 512, 512)
        timed = Point(kind="elementwise", name=name, dtype="float32", dims=dims, seconds=1)
        assert described_point(timed)[1] == pytest.approx(work, rel=0.02), name
        assert described_point(timed)[0] == pytest.approx(features, abs=0.05), name
    assert seen == set(OPERATIONS) - {"embedding"}


REFUSED = {
    "data_dependent": "its control flow depends on the values of its data",
    "data_dependent_shape": "depends on the values of its data",
    "custom_without_shape": "secret",
    "custom_with_shape": "the count would miss hwdiag_tests.known.default (1 calls)",
    "flexible": "it calls flex_attention, which takes a function as an argument",
    "quantised": "reads the values of its weights while it is built, as quantize_dynamic does",
    "scripted": "it is compiled by torch.jit, so its operations never reach Python",
    "sparse": "it computes with sparse tensors",
    "nothing": "must give (net, inputs)",
    "raises": "RuntimeError: no",
    "missing": "has no attribute 'missing'",
}


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    """What a child says of nets that cannot be counted, one after the other."""
    events = ask_once(sys.executable, "count", [own(name).model_dump() for name in REFUSED], timeout_s=300).events
    return {name: next(e["detail"] for e in events if e.get("index") == n) for n, name in enumerate(REFUSED)}


@pytest.mark.parametrize("function", REFUSED)
def test_what_cannot_be_counted_is_refused_in_one_line(refusals: dict[str, str], function: str) -> None:
    assert REFUSED[function] in refusals[function]
    assert "\n" not in refusals[function]


def test_a_refusal_names_the_net() -> None:
    with pytest.raises(UsageError, match=r":raises cannot be counted: .*RuntimeError: no$"):
        count(own("raises"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (NetSpec(net="resnet51"), "no net 'resnet51' (known: bert-base, "),
        (NetSpec(net="no_such_module_xyz:net"), "No module named"),
        (NetSpec(net="deeplabv3-r50", phase="decode"), "has no decoding step"),
    ],
)
def test_a_net_that_is_not_there_is_one_line(spec: NetSpec, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        count(spec)
    assert message in str(raised.value)


def test_an_interpreter_without_torch_is_one_line(python_without_torch: str) -> None:
    with pytest.raises(HwdiagError, match="torch cannot be imported"):
        count_nets(python_without_torch, [NetSpec(net="resnet18")])
