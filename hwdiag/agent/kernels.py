"""Builders of the kernels that the devices' profile adds: each gives (step, check), as those of workloads do."""

from .accelerator import accelerator
from .applying import wide
from .precision_given import TF32_EPS, given
from .workloads import relative_error, values


def elementwise(torch, device, dtype, elements):
    x = values(torch, elements, device, dtype, 1.5)
    y = torch.zeros(elements, device=device, dtype=dtype)
    return lambda: torch.mul(x, 2.0, out=y), lambda: (float((y - 2.0 * x).abs().max()), 0.0)


def reduction(torch, device, dtype, elements):
    x = torch.rand(elements, device=device).to(dtype)

    def check():
        # Sums of n values are added in pieces; 1e-4 is far above that, and far below a missed piece.
        return relative_error(torch, torch.sum(x), torch.sum(wide(x))), 1e-4

    return lambda: torch.sum(x), check


def attention(torch, device, dtype, batch, heads, tokens, width, what=None):
    """Build attention. ``what``: the backend, where torch shall not choose one itself."""
    q, k, v = (torch.randn(batch, heads, tokens, width, device=device).to(dtype) for _ in range(3))

    def by_itself():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    def by_this():
        with torch.nn.attention.sdpa_kernel(backend):
            return by_itself()

    backend = what and getattr(torch.nn.attention.SDPBackend, BACKENDS[what])
    step = by_this if what else by_itself

    def check():
        some = [wide(t[:1, :2]) for t in (q, k, v)]
        reference = torch.softmax(some[0] @ some[1].transpose(-1, -2) / width**0.5, -1) @ some[2]
        eps = TF32_EPS if given(torch, device, dtype, "matmul") == "tf32" else torch.finfo(dtype).eps
        return relative_error(torch, step()[:1, :2], reference), 8 * eps + 1e-4

    return step, check


def transfer(torch, device, dtype, elements, what):
    """Build a copy between host and device. ``what``: ``to pageable``, ``to pinned``, ``from pageable``, ``from
    pinned``."""
    direction, kind = what.split()
    here = torch.rand(elements, dtype=dtype, pin_memory=kind == "pinned")
    there = torch.rand(elements, dtype=dtype, device=device)
    source, target = (here, there) if direction == "to" else (there, here)
    # Only from pinned memory can a copy run beside the host's work.
    return lambda: target.copy_(source, non_blocking=kind == "pinned"), lambda: (
        float(not torch.equal(source.cpu(), target.cpu())),
        0.0,
    )


def in_place(torch, device, dtype, elements):
    """Build the sum of an array in the host's memory: pinned memory has an address on the device too, and a tensor of
    the device is laid over it."""
    here = torch.rand(elements, dtype=dtype, pin_memory=True)
    about = {"shape": (elements,), "typestr": "<f4", "data": (here.data_ptr(), False), "version": 3}
    there = torch.as_tensor(type("Here", (), {"__cuda_array_interface__": about, "memory": here})(), device=device)
    if there.data_ptr() != here.data_ptr():
        raise RuntimeError("torch has copied it: nothing is read in place")
    return lambda: torch.sum(there), lambda: (
        relative_error(torch, torch.sum(there).cpu(), torch.sum(wide(here))),
        1e-4,
    )


def dispatch(torch, device, dtype, what):
    """Build one addition of one number, which costs the start of a kernel: in a row, or each ``waited`` for."""
    x = torch.zeros(1, device=device, dtype=dtype)
    y = torch.zeros(1, device=device, dtype=dtype)
    module = accelerator(torch, str(device))
    if what == "waited" and module is not None:

        def step():
            torch.add(x, 1.0, out=y)
            module.synchronize()

        return step, lambda: (float((y - 1.0).abs().max()), 0.0)
    return lambda: torch.add(x, 1.0, out=y), lambda: (float((y - 1.0).abs().max()), 0.0)


def precision(torch, device, dtype, n, what):
    """Build a product in one precision. Its error is against the float64 product of operands not yet rounded to it."""
    a = torch.randn(n, n, device=device, dtype=torch.float32)
    b = torch.randn(n, n, device=device, dtype=torch.float32)
    step, result, tolerance = PRECISIONS[what](torch, dtype, a, b)

    def check():
        rows = torch.linspace(0, n - 1, 8, device=device).long()
        return relative_error(torch, result()[rows], wide(a[rows]) @ wide(b)), tolerance

    return step, check


BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "math": "MATH",
}
"""Of attention, and torch's names for them."""


def plain(torch, dtype, a, b):
    """Build a product by ``torch.mm`` in the type itself."""
    x, y = a.to(dtype), b.to(dtype)
    out = torch.empty_like(x)
    # Rounded operands, and sums that some kernels keep in the type itself: a random walk of its own rounding.
    return lambda: torch.mm(x, y, out=out), lambda: out, min(0.5, 4 * len(a) ** 0.5 * torch.finfo(dtype).eps)


def tf32(torch, dtype, a, b):
    """Build a product of float32 with 10 bits of it used, as ``set_float32_matmul_precision("high")`` allows."""
    torch.set_float32_matmul_precision("high")
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out), lambda: out, 0.02


def scaled(x, largest, dim):
    """Return the scales by which each row, or column, uses the whole range."""
    return x.abs().amax(dim, keepdim=True) / largest


def int8(torch, dtype, a, b):
    """Build a product of int8 times int8 into int32, with a scale for each row and column. Only the product is
    timed."""
    sa, sb = scaled(a, 127, 1), scaled(b, 127, 0)
    # The second one column by column: tensor cores take int8 in no other way, and cuBLAS goes without them.
    x, y = (a / sa).round().to(torch.int8), (b / sb).round().to(torch.int8).t().contiguous().t()

    def step():
        return torch._int_mm(x, y)

    return step, lambda: step() * (sa * sb), 0.05


def fp8(torch, dtype, a, b):
    """Build a product of 8 bits with an exponent (e4m3), with one scale for each matrix. Only the product is timed."""
    sa, sb = a.abs().max() / 448, b.abs().max() / 448
    x, y = (a / sa).to(dtype), (b / sb).to(dtype).t().contiguous().t()  # the second one column by column

    def step():
        return torch._scaled_mm(x, y, sa, sb, out_dtype=torch.bfloat16)

    return step, step, 0.1


PRECISIONS = {
    "fp64": plain,
    "fp32": plain,
    "tf32": tf32,
    "bf16": plain,
    "fp16": plain,
    "int8": int8,
    "fp8": fp8,
}

BUILDERS = {
    "elementwise": elementwise,
    "reduction": reduction,
    "attention": attention,
    "transfer": transfer,
    "in-place": in_place,
    "dispatch": dispatch,
    "precision": precision,
}
