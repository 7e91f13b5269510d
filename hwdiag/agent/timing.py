"""Times single operations, from which a host is calibrated, and whole nets, with which estimates are checked.

A single operation is timed as it meets the machine in a net: what it reads was written just before, and everything
else (its weights, the memory it writes to, the address translations of both) was displaced by the rest of the net:
to memory, or, in a small net, to the last-level cache.
"""

import gc
import itertools
import statistics
import time

from . import net_building

LEAST_SAMPLES = 3
WARM_SHARE = 0.3
MAX_SAMPLES = 200


KEPT_BYTES = 31 * 2**20


def keep_freed_memory(torch):
    """Bring malloc to where a process that has run for a while is: it keeps what was freed, up to blocks of this size.

    glibc gives each freed block back to the kernel until a large one was freed, and learns its size then (mallopt(3),
    M_MMAP_THRESHOLD, at most 32 MiB); before, a net's speed depends on what ran earlier in the same process.
    """
    block = torch.empty(KEPT_BYTES, dtype=torch.uint8)
    del block


def sampled(step, seconds, prepare=lambda: None):
    """Return the seconds of each call, after a warm-up of a share of the time and at least two calls.

    ``prepare`` runs before each call and is not timed.
    """
    start = time.perf_counter()
    done = 0
    while done < 2 or time.perf_counter() - start < WARM_SHARE * seconds:
        prepare()
        step()
        done += 1
    samples = []
    start = time.perf_counter()
    while len(samples) < LEAST_SAMPLES or (time.perf_counter() - start < seconds and len(samples) < MAX_SAMPLES):
        prepare()
        before = time.perf_counter()
        step()
        samples.append(time.perf_counter() - before)
    return samples


# --- Single operations: each builder gives a step and the tensors that were written just before it --------------------


POOLS = {}  # type: ignore[var-annotated]


class Cold:
    """Weights that come from memory: as many different ones as the caches cannot hold, in turn, as in a net."""

    def __init__(self, torch, dtype, shape, pool_bytes):
        count = 1
        for n in shape:
            count *= n
        least = max(2 * count, pool_bytes // torch.empty((), dtype=dtype).element_size())
        if dtype not in POOLS or POOLS[dtype].numel() < least:
            POOLS[dtype] = torch.empty(2**20).normal_(0, 0.02).to(dtype).repeat(-(-least // 2**20))
        pool = POOLS[dtype]
        copies = max(2, min(4096, least // count))
        self.next = itertools.cycle([pool[i * count : (i + 1) * count].view(shape) for i in range(copies)]).__next__


def displacing(torch, step, written, spec):
    """Return a function that stands for the rest of a net before each timed call.

    It reads ``displaced_bytes`` of memory and writes what the operation reads. Of single modules, of which only the
    start is timed, another one is called first: the interpreter's own code is never displaced.
    """
    if "displaced" not in POOLS or POOLS["displaced"].numel() < spec["displaced_bytes"] // 4:
        POOLS["displaced"] = torch.ones(spec["displaced_bytes"] // 4)
    rest = POOLS["displaced"][: spec["displaced_bytes"] // 4]

    def prepare():
        rest.sum()
        if spec["kind"] == "overhead":
            step()
        for x in written:
            x.mul_(1)

    return prepare


def gemm(torch, dtype, dims, spec):
    rows, inner, columns = dims
    x = torch.randn(rows, inner).to(dtype)
    bias = torch.zeros(columns, dtype=dtype)
    if spec["name"] == "plain":  # as in GPT-2, whose layers keep their weights the other way round
        weights = Cold(torch, dtype, (inner, columns), spec["pool_bytes"])
        return lambda: torch.addmm(bias, x, weights.next()), [x]
    weights = Cold(torch, dtype, (columns, inner), spec["pool_bytes"])
    return lambda: torch.nn.functional.linear(x, weights.next(), bias), [x]


def conv(torch, dtype, dims, spec):
    cin, cout, kernel, side, groups, stride = dims
    x = torch.randn(1, cin, side * stride, side * stride).to(dtype)
    weights = Cold(torch, dtype, (cout, cin // groups, kernel, kernel), spec["pool_bytes"])
    # A kernel as wide as its stride cuts the image into patches; any other is padded to keep its size.
    pad = 0 if kernel == stride else kernel // 2
    return lambda: torch.nn.functional.conv2d(x, weights.next(), None, stride, pad, 1, groups), [x]


def attention(torch, dtype, dims, spec):
    heads, queries, keys, width = dims
    q, k, v = (torch.randn(1, n, heads, width).to(dtype).transpose(1, 2) for n in (queries, keys, keys))
    if queries == 1:  # a decoding step's come from the cache, where each head's lie together
        k, v = k.contiguous(), v.contiguous()
    causal = bool(spec.get("causal"))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal), [q, k, v]


def elementwise(torch, dtype, dims, spec):
    """Build an elementwise operation. ``dims``: the elements of the result, and of one row where the operation works
    along rows."""
    count, width = dims
    functional, name = torch.nn.functional, spec["name"]
    if name in ("batch_norm", "max_pool", "mean_pool"):
        side = round(width**0.5)
        x = torch.randn(1, max(1, count // width), side, side).to(dtype)
    else:
        x = torch.randn(count // width, width).to(dtype)
    w = torch.ones(x.shape[1], dtype=dtype)
    if name == "embedding":
        table = torch.randn(32768, width).to(dtype)
        rows = torch.randint(32768, (count // width,))
        return lambda: functional.embedding(rows, table), []
    if name == "cat":  # the keys of sixteen heads, kept since the step before, and one token's
        cache = Cold(torch, dtype, (16, count // 1024, 64), spec["pool_bytes"])
        x = torch.randn(16, 1, 64).to(dtype)
        return lambda: torch.cat([cache.next(), x], 1), [x]
    # The second operand was made some operations before: what a residual connection adds.
    older = Cold(torch, dtype, x.shape, spec["pool_bytes"]) if name == "add" else None
    other = torch.float32 if dtype is torch.bfloat16 else torch.bfloat16
    steps = {
        "add": lambda: x + older.next(),
        "mul_scalar": lambda: x * 0.5,
        "relu": lambda: functional.relu(x),
        "relu_": lambda: functional.relu_(x),
        "gelu": lambda: functional.gelu(x),
        "tanh": lambda: torch.tanh(x),
        "silu": lambda: functional.silu(x),
        "exp": lambda: torch.exp(x),
        "pow": lambda: torch.pow(x, 3.0),
        "softmax": lambda: torch.softmax(x, -1),
        "layer_norm": lambda: functional.layer_norm(x, (width,), w, w),
        "batch_norm": lambda: functional.batch_norm(x, w, w, w, w),
        "max_pool": lambda: functional.max_pool2d(x, 3, 2, 1),
        "mean_pool": lambda: functional.avg_pool2d(x, 2),
        "mean": lambda: x.mean(-1),
        "clone": lambda: x.clone(),
        "permuted": lambda: x.t().contiguous(),
        "cast": lambda: x.to(other),
        "fill": lambda: torch.zeros(x.shape, dtype=dtype),
    }
    return steps[name], [x]


def overhead(torch, dtype, dims, spec):
    """Build the start of something that has next to nothing to do: a view, an operation, the same in a module.

    ``dims``: so many modules take turns, as each of a net's is met once in a run.
    """
    x = torch.zeros(1, 8, dtype=dtype)
    modules = [torch.nn.Linear(8, 8).to(dtype) for _ in range(dims[0])]
    module, weights = itertools.cycle(modules).__next__, itertools.cycle([(m.weight, m.bias) for m in modules]).__next__
    linear = torch.nn.functional.linear
    steps = {"view": lambda: x.view(8, 1), "bare": lambda: linear(x, *weights()), "module": lambda: module()(x)}
    return steps[spec["name"]], [x]


def reread(torch, dtype, dims, spec):
    """Build a sum that reads so many bytes again: what a cache keeps of them from one call to the next is read from
    there."""
    x = torch.ones(dims[0] // torch.empty((), dtype=dtype).element_size(), dtype=dtype)
    return x.sum, []


BUILDERS = {
    "gemm": gemm, "conv": conv, "attention": attention, "elementwise": elementwise, "overhead": overhead,
    "reread": reread,
}  # fmt: skip


def operation(torch, spec):
    """Time one single operation."""
    torch.manual_seed(0)
    keep_freed_memory(torch)
    with torch.inference_mode():
        step, written = BUILDERS[spec["kind"]](torch, getattr(torch, spec["dtype"]), spec["dims"], spec)
        displaced = () if spec["kind"] == "reread" else (displacing(torch, step, written, spec),)
        samples = sampled(step, spec["seconds"], *displaced)
    return {"seconds": statistics.median(samples)}


# --- Whole nets -------------------------------------------------------------------------------------------------------


def net(torch, spec):
    """Time a whole net, built with random weights."""
    gc.collect()
    torch.manual_seed(0)
    made, given = real_net(torch, spec)
    keep_freed_memory(torch)
    with torch.inference_mode():
        if spec["phase"] == "decode":
            first = net_building.with_cache(torch, made, given, spec)
            step = decode_step(made, first)
        elif isinstance(given, dict):
            step = lambda: made(**given)  # noqa: E731
        else:
            step = lambda: made(*given)  # noqa: E731
        samples = sampled(step, spec["seconds"])
    return {"samples": samples}


def decode_step(made, first):
    """Return a step that makes one token more and puts the cache back as it was, so that each step meets the same
    one."""
    cache = getattr(first["past_key_values"], "self_attention_cache", first["past_key_values"])
    before = [(layer, layer.keys, layer.values) for layer in cache.layers]

    def step():
        found = made(**first)
        for layer, keys, values in before:
            layer.keys, layer.values = keys, values
        return found

    return step


def real_net(torch, spec):
    """Return the net on the CPU, without the seconds that careful initialisation takes, and inputs as varied as real
    ones.

    Weights have the size that keeps values from vanishing or exploding (He et al. 2015, section 2.2): numbers too
    small to be normal, and branches that always go one way, would be faster or slower than in use.
    """
    dtype = getattr(torch, spec["dtype"])
    init, kept = torch.nn.init, {}
    for name in dir(init):
        if name.endswith("_") and not name.startswith("_"):
            kept[name] = getattr(init, name)
            setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    try:
        made, given = net_building.build(torch, spec)
    finally:
        for name, function in kept.items():
            setattr(init, name, function)
    noise = torch.empty(2**20).normal_()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            size = (2.0 * parameter.shape[0] / parameter.numel()) ** 0.5
            for part in parameter.view(-1).split(noise.numel()):
                torch.mul(noise[: part.numel()], size, out=part)
    made = made.to(dtype)
    if isinstance(given, dict):
        return made, {k: varied(torch, v, dtype) for k, v in given.items()}
    return made, tuple(varied(torch, v, dtype) for v in given)


WORDS = 1000
"""Tokens are drawn from so many: every vocabulary has them."""


def varied(torch, value, dtype):
    """Return an input of this shape that is not all zeros."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.is_floating_point():
        return torch.randn(value.shape).to(dtype)
    return torch.randint(WORDS, value.shape, dtype=value.dtype)
