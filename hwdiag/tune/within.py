"""Levers within the process: precision, layout, compilation and the like, on the nets that are measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from hwdiag.agent import switch_at_start
from hwdiag.experiment.lever import Factor, Lever
from hwdiag.experiment.net_facts import NetFacts
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.host.model import Host
from hwdiag.process.launch import SWITCH, Launch
from hwdiag.process.model import Software

SWITCHES = "switches"
"""Name of the folder that is handed over beside a launch script."""
START = Path(switch_at_start.__file__)
PRECISION, LAYOUT, COMPILE = "precision", "layout", "compile"
PRECISION_EFFECT = 1.0
"""Standard deviation of what a precision does to the logarithm of the speed: three times as fast, or much slower."""
LAYOUT_EFFECT, SMALL_EFFECT = 0.2, 0.1
BESIDE_LAYOUT = 0.4
"""Of what a precision gives beside another layout, over what both give by themselves. Other pairs are taken to
multiply: each that is reckoned with costs trials, and the playoff compares whole plans."""
COMPILE_S = 60.0
"""Seconds that compiling a net of a hundred layers takes two cores, roughly."""

FPMATH = "ONEDNN_DEFAULT_FPMATH_MODE"
BF16_FEATURES = ("AVX512-BF16", "AMX-BF16", "BF16", "SVE-BF16")
"""Of a CPU that multiplies in bf16."""
INT8_FEATURES = ("AVX-VNNI", "AVX512-VNNI", "AMX-INT8", "I8MM", "DOTPROD")
FP16_FEATURES = ("AVX512-FP16", "AMX-FP16", "FP16")


def within(host: Host, software: Software, facts: NetFacts) -> tuple[Factor, ...]:
    """Return the factors that change something within the process; those that compile last."""
    return (
        Factor(
            PRECISION,
            tuple(precisions(host, software, facts)),
            effect=PRECISION_EFFECT,
            interacts={LAYOUT: BESIDE_LAYOUT},
        ),
        Factor(LAYOUT, tuple(layouts(facts)), effect=LAYOUT_EFFECT),
        Factor("attention", tuple(attention(facts)), effect=SMALL_EFFECT),
        Factor("gradients", tuple(gradients(facts)), effect=SMALL_EFFECT),
        Factor("denormals", tuple(denormals(facts)), effect=SMALL_EFFECT),
        Factor("kernel choice", tuple(kernel_choice(facts)), effect=SMALL_EFFECT),
        Factor(COMPILE, tuple(compilers(facts)), effect=LAYOUT_EFFECT, slow_s=COMPILE_S),
    )


def lever(name: str, factor: str) -> Lever:
    """Return a technique of the agent as a lever of this factor."""
    return BY_NAME[name].model_copy(update={"children": (name,)}).lever(factor)


def fpmath(software: Software) -> Iterator[Lever]:
    """Yield oneDNN's own switch, which asks no change of code, where nobody has set it."""
    if software.onednn and FPMATH not in software.environment:
        yield Lever(
            id=f"{FPMATH}=BF16",
            factor=PRECISION,
            title=f"{FPMATH}=BF16",
            launch=Launch(env={FPMATH: "BF16"}),
            accuracy="reduced",
        )


def precisions(host: Host, software: Software, facts: NetFacts) -> Iterator[Lever]:
    """Yield ways to compute at lower precision: what this CPU or GPU has instructions for, and half the memory."""
    if not facts.is_on_cpu:
        yield lever("tf32", PRECISION)
    elif has_any(host, BF16_FEATURES):
        yield from fpmath(software)
        yield lever("matmul-bf16", PRECISION)
    if not facts.is_net:
        return
    if not facts.is_on_cpu or has_any(host, BF16_FEATURES):
        yield lever("autocast-bf16", PRECISION)
    yield lever("bf16", PRECISION)
    if not facts.is_on_cpu:
        yield lever("autocast-fp16", PRECISION)
    if not facts.training and (not facts.is_on_cpu or has_any(host, FP16_FEATURES)):
        yield lever("fp16", PRECISION)
    if facts.linear_layers and not facts.training and facts.is_on_cpu and has_any(host, INT8_FEATURES):
        yield lever("int8-dynamic", PRECISION)


def layouts(facts: NetFacts) -> Iterator[Lever]:
    """Yield channels_last, for nets with convolutions."""
    if facts.is_net and facts.convolutions:
        yield lever("channels-last", LAYOUT)


def attention(facts: NetFacts) -> Iterator[Lever]:
    """Yield attention without a fused kernel, which is the default."""
    if facts.is_net and facts.attention:
        yield lever("math-attention", "attention")


def gradients(facts: NetFacts) -> Iterator[Lever]:
    """Yield inference_mode, for a net that is called without."""
    if facts.is_net and facts.records_gradients and not facts.training:
        yield lever("inference-mode", "gradients")


def denormals(facts: NetFacts) -> Iterator[Lever]:
    """Yield flush-to-zero; the catalogue's nets have no denormal numbers, so it is for what a person measures."""
    if facts.is_on_cpu and (facts.records_gradients or not facts.is_net):
        yield lever("flush-denormals", "denormals")


def kernel_choice(facts: NetFacts) -> Iterator[Lever]:
    """Yield what chooses or records the kernels of a GPU."""
    if not facts.is_on_cpu and facts.convolutions:
        yield lever("cudnn-benchmark", "kernel choice")


def compilers(facts: NetFacts) -> Iterator[Lever]:
    """Yield torch.compile and its modes."""
    if not facts.is_net:
        return
    yield lever("compile", COMPILE)
    if not facts.training:
        yield lever("compile-freezing", COMPILE)
    if not facts.is_on_cpu:
        yield lever("compile-reduce-overhead", COMPILE)


def of_command(host: Host, software: Software, folder: Path | None) -> tuple[Factor, ...]:
    """Return what can be set for a program that nobody changes: variables, and switches from its Python's start.

    ``folder`` has the ``sitecustomize`` that switches; without, or where no torch runs, there are variables alone.
    """
    facts = NetFacts(device="cuda:0" if software.cuda_devices else "cpu")
    named = [*precisions(host, software, facts)]
    if facts.is_on_cpu and has_any(host, BF16_FEATURES):
        named.append(lever("autocast-bf16", PRECISION))
    if not facts.is_on_cpu:
        named.append(lever("cudnn-benchmark", "kernel choice"))
    named += denormals(facts)
    able = folder is not None and software.outcome.ok
    levers = [at_start(x, folder) if x.techniques else x for x in named if able or not x.techniques]
    effects = {PRECISION: PRECISION_EFFECT}
    names = dict.fromkeys(x.factor for x in levers)
    return tuple(
        Factor(name, tuple(x for x in levers if x.factor == name), effect=effects.get(name, SMALL_EFFECT))
        for name in names
    )


def at_start(inside: Lever, folder: Path | None) -> Lever:
    """Return a lever within the process as one of how it is started."""
    (name,) = inside.techniques
    variable = f"{SWITCH}{inside.factor.upper().replace(' ', '_')}"
    launch = Launch(env={variable: name}, python_path=(str(folder),))
    return inside.model_copy(update={"launch": launch, "techniques": ()})


def switching_folder(scratch: Path) -> Path:
    """Make the folder whose ``sitecustomize`` switches torch when it is imported, and return it."""
    folder = scratch / SWITCHES
    folder.mkdir(exist_ok=True)
    shutil.copyfile(START, folder / "sitecustomize.py")
    return folder


def has_any(host: Host, features: tuple[str, ...]) -> bool:
    """Return whether all CPUs have one of these."""
    return host.cpu.isa is not None and any(feature in host.cpu.isa.features for feature in features)
