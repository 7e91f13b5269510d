"""Times single operations, from which a host is calibrated, and whole nets, with which estimates are checked."""

import gc
import itertools
import statistics
import time

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


def sampled(step, seconds):
    """Seconds of each call, after a warm-up of a share of the time and at least two calls."""
    start = time.perf_counter()
    done = 0
    while done < 2 or time.perf_counter() - start < WARM_SHARE * seconds:
        step()
        done += 1
    samples = []
    start = time.perf_counter()
    while len(samples) < LEAST_SAMPLES or (time.perf_counter() - start < seconds and len(samples) < MAX_SAMPLES):
        before = time.perf_counter()
        step()
        samples.append(time.perf_counter() - before)
    return samples


# --- Single operations: each builder gives a step ---------------------------------------------------------------------


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


def gemm(torch, dtype, dims, spec):
    rows, inner, columns = dims
    x = torch.randn(rows, inner).to(dtype)
    weights = Cold(torch, dtype, (columns, inner), spec["pool_bytes"])
    bias = torch.zeros(columns, dtype=dtype)
    return lambda: torch.nn.functional.linear(x, weights.next(), bias)


def conv(torch, dtype, dims, spec):
    cin, cout, kernel, side, groups, stride = dims
    x = torch.randn(1, cin, side * stride, side * stride).to(dtype)
    weights = Cold(torch, dtype, (cout, cin // groups, kernel, kernel), spec["pool_bytes"])
    # A kernel as wide as its stride cuts the image into patches; any other is padded to keep its size.
    pad = 0 if kernel == stride else kernel // 2
    return lambda: torch.nn.functional.conv2d(x, weights.next(), None, stride, pad, 1, groups)


def attention(torch, dtype, dims, spec):
    heads, queries, keys, width = dims
    q = torch.randn(1, queries, heads, width).to(dtype).transpose(1, 2)
    k = torch.randn(1, keys, heads, width).to(dtype).transpose(1, 2)
    causal = bool(spec.get("causal"))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, k, is_causal=causal)


def elementwise(torch, dtype, dims, spec):
    """``dims``: the elements of the result."""
    (count,) = dims
    functional, name = torch.nn.functional, spec["name"]
    width = 1024 if count >= 4096 else 64
    x = torch.randn(count // width, width).to(dtype)
    if name == "embedding":
        table = torch.randn(32768, width).to(dtype)
        rows = torch.randint(32768, (count // width,))
        return lambda: functional.embedding(rows, table)
    if name == "layer_norm":
        w = torch.ones(width, dtype=dtype)
        return lambda: functional.layer_norm(x, (width,), w, w)
    if name in ("batch_norm", "max_pool", "mean_pool"):
        side = 112 if count >= 2**18 else 28 if count >= 2**14 else 7
        image = torch.randn(1, max(1, count // (side * side)), side, side).to(dtype)
        w = torch.ones(image.shape[1], dtype=dtype)
        if name == "batch_norm":
            return lambda: functional.batch_norm(image, w, w, w, w)
        if name == "max_pool":
            return lambda: functional.max_pool2d(image, 3, 2, 1)
        return lambda: functional.adaptive_avg_pool2d(image, 1)
    y = torch.randn(count // width, width).to(dtype)
    other = torch.float32 if dtype is torch.bfloat16 else torch.bfloat16
    steps = {
        "add": lambda: x + y,
        "mul_scalar": lambda: x * 0.5,
        "relu": lambda: functional.relu(x),
        "relu_": lambda: functional.relu_(x),
        "gelu": lambda: functional.gelu(x),
        "tanh": lambda: torch.tanh(x),
        "silu": lambda: functional.silu(x),
        "exp": lambda: torch.exp(x),
        "pow": lambda: torch.pow(x, 3.0),
        "softmax": lambda: torch.softmax(x, -1),
        "mean": lambda: x.mean(-1),
        "clone": lambda: x.clone(),
        "permuted": lambda: x.t().contiguous(),
        "cat": lambda: torch.cat([x, y], 0),
        "cast": lambda: x.to(other),
        "fill": lambda: torch.zeros(count // width, width, dtype=dtype),
    }
    return steps[name]


def overhead(torch, dtype, dims, spec):
    """What starting something costs when there is next to nothing to do: a view, an operation, the same in a module."""
    x = torch.zeros(1, 8, dtype=dtype)
    module = torch.nn.Linear(8, 8).to(dtype)
    w, b = module.weight, module.bias
    linear = torch.nn.functional.linear
    one = {"view": lambda: x.view(8, 1), "bare": lambda: linear(x, w, b), "module": lambda: module(x)}[spec["name"]]

    def step():
        for _ in range(dims[0]):
            one()

    return step


BUILDERS = {"gemm": gemm, "conv": conv, "attention": attention, "elementwise": elementwise, "overhead": overhead}


def micro(torch, nets, spec):
    """One single operation's time."""
    torch.manual_seed(0)
    keep_freed_memory(torch)
    with torch.inference_mode():
        step = BUILDERS[spec["kind"]](torch, getattr(torch, spec["dtype"]), spec["dims"], spec)
        samples = sampled(step, spec["seconds"])
    return {"seconds": statistics.median(samples)}


# --- Whole nets -------------------------------------------------------------------------------------------------------


def net(torch, nets, spec):
    """A whole net's time, built with random weights."""
    gc.collect()
    torch.manual_seed(0)
    made, given = real_net(torch, nets, spec)
    keep_freed_memory(torch)
    with torch.inference_mode():
        if spec["phase"] == "decode":
            first = nets.with_cache(torch, made, given, spec)
            step = decode_step(made, first)
        elif isinstance(given, dict):
            step = lambda: made(**given)  # noqa: E731
        else:
            step = lambda: made(*given)  # noqa: E731
        samples = sampled(step, spec["seconds"])
    return {"samples": samples}


def decode_step(made, first):
    """One token more; the cache is cut back by it, so that each step meets the same one."""
    cache = getattr(first["past_key_values"], "self_attention_cache", first["past_key_values"])

    def step():
        made(**first)
        cache.crop(-1)

    return step


def real_net(torch, nets, spec):
    """The net on the CPU with weights of a usual size, without the seconds that careful initialisation takes."""
    dtype = getattr(torch, spec["dtype"])
    init, kept = torch.nn.init, {}
    for name in dir(init):
        if name.endswith("_") and not name.startswith("_"):
            kept[name] = getattr(init, name)
            setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    try:
        made, given = nets.build(torch, spec)
    finally:
        for name, function in kept.items():
            setattr(init, name, function)
    noise = torch.empty(2**20).normal_(0, 0.02)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            for part in parameter.view(-1).split(noise.numel()):
                part.copy_(noise[: part.numel()])
    made = made.to(dtype)
    if isinstance(given, dict):
        given = {k: v.to(dtype) if getattr(v, "is_floating_point", bool)() else v for k, v in given.items()}
    else:
        given = tuple(v.to(dtype) if v.is_floating_point() else v for v in given)
    return made, given
