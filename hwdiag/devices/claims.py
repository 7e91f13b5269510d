"""Claims of a guide for an old Xeon with an RTX 3060, and how they hold on this host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hwdiag.devices.model import CPU, Gain, Study
from hwdiag.devices.nets import NETS
from hwdiag.experiment.techniques import Mode

Standing = Literal["holds here", "doesn't", "needs a GPU", "undecided", "not measured"]


@dataclass(frozen=True)
class ClaimOutcome:
    """The standing of one claim here."""

    standing: Standing
    why: str


@dataclass(frozen=True)
class GuideClaim:
    """One gain that the guide names, in our words."""

    claim: str
    section: str
    check: Callable[[Study], ClaimOutcome]


def judged(study: Study) -> list[tuple[GuideClaim, ClaimOutcome]]:
    """Return every claim with its standing here."""
    return [(claim, claim.check(study)) for claim in GUIDE_CLAIMS]


def faster(technique: str, mode: Mode | None = None, *, gpu: bool = False) -> Callable[[Study], ClaimOutcome]:
    """Return a rule: a claim holds where a net became faster by the technique, beyond doubt."""

    def check(study: Study) -> ClaimOutcome:
        if gpu and not accelerators(study):
            return NO_GPU
        seen = [g for g in study.gains if g.technique == technique and mode in (None, g.mode)]
        ran = [g for g in seen if g.comparison is not None]
        if not ran:
            return ClaimOutcome("not measured", seen[0].outcome.detail if seen else "not in this budget")
        won = [g for g in ran if g.comparison and g.comparison.verdict == "better"]
        if won:
            return ClaimOutcome("holds here", "; ".join(map(gain_text, won)))
        if all(no_gain(g) for g in ran):
            return ClaimOutcome("doesn't", "; ".join(map(gain_text, ran)))
        return ClaimOutcome("undecided", "; ".join(f"{gain_text(g)}: {reason(g)}" for g in ran if not no_gain(g)))

    return check


def smaller(technique: str, *, gpu: bool = False) -> Callable[[Study], ClaimOutcome]:
    """Return a rule: a claim holds where a process took at least a tenth less memory."""

    def check(study: Study) -> ClaimOutcome:
        if gpu and not accelerators(study):
            return NO_GPU
        ran = [g for g in study.gains if g.technique == technique and g.peak_bytes and g.default_peak_bytes]
        if not ran:
            return ClaimOutcome("not measured", "not in this budget")
        saved = {measured_on(g): 1 - (g.peak_bytes or 0) / (g.default_peak_bytes or 1) for g in ran}
        told = "; ".join(f"{where}: {-share:+.0%} of peak memory" for where, share in saved.items())
        return ClaimOutcome("holds here" if max(saved.values()) >= LEAST_SAVED else "doesn't", told)

    return check


LEAST_SAVED = 0.1


def no_gain(gain: Gain) -> bool:
    """Return whether a technique does not pay: surely the same or slower, or without a sign of a gain in the
    screening."""
    assert gain.comparison is not None
    return gain.comparison.verdict in ("same", "worse") or gain.is_unpromising


def measured_on(gain: Gain) -> str:
    """Return a gain's workload, with its device where that is not the CPU."""
    return gain.workload if gain.device == CPU else f"{gain.workload} on {gain.device}"


def gain_text(gain: Gain) -> str:
    """Return a gain as text: ``resnet18-inference on cuda:0: 1.31x (1.28 to 1.34)``."""
    assert gain.comparison is not None
    s = gain.comparison.speedup
    pairs = "" if gain.planned else f", {s.processes} in the screening"
    return f"{measured_on(gain)}: {s.median:.2f}x ({s.low:.2f} to {s.high:.2f}{pairs})"


def reason(gain: Gain) -> str:
    """Return why a comparison decides nothing, in a clause."""
    assert gain.comparison is not None
    return gain.comparison.why


def accelerators(study: Study) -> list[str]:
    return [d.name for d in study.devices if not d.is_cpu]


NO_GPU = ClaimOutcome("needs a GPU", "there is none that torch can use here")


def fixed(standing: Standing, why: str, *, gpu: bool = False) -> Callable[[Study], ClaimOutcome]:
    """Return a rule for a claim that needs no measurement, since it is so anywhere."""
    return lambda study: NO_GPU if gpu and not accelerators(study) else ClaimOutcome(standing, why)


def cpu_friendly(study: Study) -> ClaimOutcome:
    """Return the standing of "small convolutional nets suit the CPU": each takes less time there than ViT-B."""
    times = {
        name: study.estimate(NETS[name].workload("inference").name, "cpu")
        for name in ("mobilenetv2", "resnet18", "vit-b")
    }
    if not all(times.values()):
        return ClaimOutcome("not measured", "the time was up before MobileNetV2 and ViT: budget thorough")
    told = ", ".join(f"{name} {t.median * 1e3:.3g} ms" for name, t in times.items() if t)
    small = max(t.high for name, t in times.items() if t and name != "vit-b")
    vit = times["vit-b"]
    return ClaimOutcome("holds here" if vit is not None and vit.low > small else "doesn't", f"on the CPU, {told}")


def best_batch(study: Study) -> ClaimOutcome:
    """Return the standing of "a larger batch gives more samples a second"."""
    seen = [b for b in study.batches if b.best and b.fitting]
    if not seen:
        return ClaimOutcome("not measured", "not in this budget")
    told = "; ".join(
        f"{b.mode}: best with {b.best.batch}, {b.best.rate:.3g} a second against {b.fitting[0].rate:.3g} with 1"
        for b in seen
        if b.best and b.best.rate and b.fitting[0].rate
    )
    return ClaimOutcome("holds here" if any(b.best and b.best.batch > 1 for b in seen) else "doesn't", told)


def loads_faster(without: str, with_it: str, missing: str = "") -> Callable[[Study], ClaimOutcome]:
    """Return a rule: a claim holds where one way to load beats another by the least effect that counts, in every
    process's interval."""

    def check(study: Study) -> ClaimOutcome:
        ratios = {f.device: r for f in study.dataloader_fed if (r := f.ratio(without, with_it))}
        if not ratios:
            failed = next((f.outcome.detail for f in study.dataloader_fed if not f.outcome.ok), "")
            return ClaimOutcome("not measured", failed or (missing if study.dataloader_fed else "not in this budget"))
        told = "; ".join(f"{d}: {r.median:.3g}x ({r.low:.3g} to {r.high:.3g})" for d, r in ratios.items())
        least = 1 + study.min_effect
        if any(r.low >= least for r in ratios.values()):
            return ClaimOutcome("holds here", told)
        return ClaimOutcome("doesn't" if all(r.high < least for r in ratios.values()) else "undecided", told)

    return check


def by_size(study: Study) -> ClaimOutcome:
    """Return the standing of "the GPU multiplies large matrices faster than the CPU"."""
    if not accelerators(study):
        return NO_GPU
    pairs = [
        (name, cpu, gpu)
        for device in accelerators(study)
        for name in ("matmul-512", "matmul-2048", "matmul-4096", "matmul-10000")
        if (cpu := study.estimate(name, "cpu")) and (gpu := study.estimate(name, device))
    ]
    told = "; ".join(f"{name}: {cpu.median / gpu.median:.3g}x" for name, cpu, gpu in pairs)
    return ClaimOutcome(
        "holds here" if any(gpu.high < cpu.low for _, cpu, gpu in pairs) else "doesn't", told or "not measured"
    )


GUIDE_CLAIMS: tuple[GuideClaim, ...] = (
    GuideClaim("The GPU outruns the CPU on a matrix product", "1", by_size),
    GuideClaim("Pinned memory is critical", "2.1", faster("pinned", gpu=True)),
    GuideClaim("Workers that are kept start the next epoch sooner", "2.1, 3.1", loads_faster("afresh", "kept")),
    GuideClaim(
        "empty_cache clears unused memory", "2.1",
        fixed("doesn't", "torch would use it again anyway; the call only makes it ask the driver again", gpu=True),
    ),
    GuideClaim("cudnn.benchmark is faster for inputs of one size", "2.1", faster("cudnn-benchmark", gpu=True)),
    GuideClaim("Mixed precision saves time in inference", "2.1", faster("autocast-bf16", "inference")),
    GuideClaim("Mixed precision saves memory", "2.1", smaller("autocast-bf16")),
    GuideClaim("Checkpointing saves memory in training", "2.1", smaller("checkpointing")),
    GuideClaim("The right batch size is worth a search", "2.2", best_batch),
    GuideClaim("Workers load faster than the training's own process", "3.1, 10", loads_faster("no workers", "workers")),
    GuideClaim("prefetch_factor=2 loads ahead", "3.1", fixed("doesn't", "2 is what a DataLoader takes anyway")),
    GuideClaim("Decoded pictures kept in memory", "3.2", loads_faster("pillow", "memory")),
    GuideClaim(
        "OpenCV loads pictures faster", "3.2",
        loads_faster("pillow", "opencv", "OpenCV is not in that interpreter; hwdiag dataloader compares all decoders"),
    ),
    GuideClaim("MobileNetV2 and ResNet-18 are friendlier to a CPU than ViT", "4.1", cpu_friendly),
    GuideClaim("Quantisation speeds up inference", "4.2", faster("int8")),
    GuideClaim("Mixed precision speeds up training", "5.1", faster("autocast-bf16", "training")),
    GuideClaim("Gradient accumulation saves memory", "5.2", smaller("accumulation")),
    GuideClaim("Thread counts and OpenMP variables tune it", "6", faster("guide-threads")),
    GuideClaim("PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128", "6.2", smaller("split-limit", gpu=True)),
    GuideClaim(
        "CUDA_LAUNCH_BLOCKING=0 makes it asynchronous", "6.2", fixed("doesn't", "it is so by default", gpu=True)
    ),
    GuideClaim(
        "fuse_modules, where a model has it", "8.1",
        fixed("doesn't", "no model of torchvision has such a method: nothing would happen"),
    ),
    GuideClaim("use_cache=True for text", "8.2", fixed("doesn't", "transformers' models have it on by default")),
    GuideClaim(
        "gradient_checkpointing_enable() saves memory in inference", "8.2",
        fixed("doesn't", "transformers skips it where a model is not in training"),
    ),
    GuideClaim("Accumulation helps a CPU that cannot keep up", "10", faster("accumulation")),
    GuideClaim(
        "cudnn.benchmark cures varying input sizes", "10",
        fixed("doesn't", "it times all algorithms again for every new size", gpu=True),
    ),
)  # fmt: skip
