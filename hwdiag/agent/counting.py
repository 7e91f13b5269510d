"""Counts what a net does, operation by operation, with fake tensors: no memory for weights, no arithmetic.

Every operator that reaches the dispatcher is put into a class by its name; one whose class is not known is listed
with the bytes it touches. Bytes are what an operator reads and writes on its own, without fusion.
"""

import collections

from . import net_building

GEMM = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linear", "mkldnn_linear", "_grouped_mm",
        "_scaled_mm"}  # fmt: skip
CONV = {"convolution", "_convolution"}
ATTENTION = {
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
}
CLASSES = {
    "norm": "native_layer_norm native_group_norm native_batch_norm cudnn_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _batch_norm_with_update _fused_rms_norm rms_norm batch_norm",
    "softmax": "_softmax _log_softmax _safe_softmax",
    "reduce": "sum mean amax amin max min argmax argmin var std var_mean any all prod cumsum cumprod topk sort norm "
    "linalg_vector_norm nonzero bincount histc",
    "pool": "max_pool2d_with_indices max_pool2d avg_pool2d _adaptive_avg_pool2d avg_pool1d _adaptive_avg_pool3d "
    "adaptive_max_pool2d upsample_bilinear2d upsample_nearest2d upsample_bicubic2d grid_sampler_2d grid_sampler_3d",
    "copy": "clone copy_ cat stack _to_copy contiguous constant_pad_nd repeat roll flip expand_copy view_copy tril "
    "triu reflection_pad1d reflection_pad2d repeat_interleave fill_ zero_ masked_fill im2col lift_fresh_copy",
    "gather": "embedding index index_select gather take scatter scatter_ scatter_add scatter_add_ index_put index_put_ "
    "index_add index_add_ index_copy_ masked_select one_hot _unsafe_index _embedding_bag _embedding_bag_forward_only",
    "create": "empty empty_strided zeros ones full arange scalar_tensor new_empty new_zeros new_ones new_full eye "
    "empty_like zeros_like ones_like full_like linspace new_empty_strided rand randn rand_like randn_like",
    "pointwise": "floor_divide",
    "slow": "gelu tanh exp sigmoid silu erf pow log log1p softplus sin cos mish hardswish elu sinh cosh exp2 expm1 "
    "_fft_r2c _fft_c2c _fft_c2r _cdist_forward _euclidean_dist",
}
OF_NAME = {name: kind for kind, names in CLASSES.items() for name in names.split()}
OF_NAME.update(dict.fromkeys(GEMM, "gemm"), **dict.fromkeys(CONV, "conv"))
OF_NAME.update(dict.fromkeys(ATTENTION, "attention"))

MATTERS = 0.02
"""Share of all bytes that operators of unknown class may touch before the count is refused."""
FREE = {
    "lift_fresh",
    "is_same_size",
    "sym_size",
    "_local_scalar_dense",
    "item",
    "_assert_async",
    "_assert_scalar",
    "is_nonzero",
    "as_strided_",
    "transpose_",
    "t_",
    "squeeze_",
    "unsqueeze_",
    "detach_",
}


class Refused(Exception):
    """The net cannot be counted, in one line that says why."""


def tensors_in(torch, values):
    """Yield all tensors in nested arguments."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            for inner in tensors_in(torch, value):
                yield inner


def inputs_of(torch, args, kwargs):
    """Yield the tensors that a call is given; what is given as ``out`` is its result."""
    return tensors_in(torch, [*args, *(value for name, value in kwargs.items() if name != "out")])


def size_of(tensor):
    """Return the bytes of a tensor's elements; an expanded dimension, whose stride is 0, is held in memory once."""
    count = 1
    for length, stride in zip(tensor.shape, tensor.stride()):
        count *= length if stride or tensor.is_mkldnn else 1
    return int(count) * tensor.element_size()


def storage(tensor):
    """Return what is the same for tensors that share memory; a tensor in a layout of oneDNN shares none."""
    return id(tensor) if tensor.is_mkldnn else tensor.untyped_storage()._cdata


def product(values):
    out = 1
    for v in values:
        out *= int(v)
    return out


def gemm_dims(name, args):
    """Return (batches, rows, inner, columns) of a product, and how many of its second operand's matrices are
    touched."""
    first = 1 if name in ("addmm", "baddbmm", "addmv") else 0
    a, b = args[first], args[first + 1]
    if name in ("linear", "mkldnn_linear"):
        return 1, product(a.shape[:-1]), int(a.shape[-1]), int(b.shape[0])
    if name in ("mm", "addmm", "_scaled_mm"):
        return 1, int(a.shape[0]), int(a.shape[1]), int(b.shape[1])
    if name in ("bmm", "baddbmm"):
        return int(a.shape[0]), int(a.shape[1]), int(a.shape[2]), int(b.shape[2])
    if name in ("mv", "addmv"):
        return 1, int(a.shape[0]), int(a.shape[1]), 1
    if name == "dot":
        return 1, 1, int(a.shape[0]), 1
    # _grouped_mm: rows of a are dealt out to the groups of b.
    if a.dim() == 2 and b.dim() == 3:
        return 1, int(a.shape[0]), int(a.shape[1]), int(b.shape[2])
    raise Refused("a grouped product of %d by %d dimensions is not known" % (a.dim(), b.dim()))


def conv_dims(args, out):
    """Return (images, in-channels, out-channels, kernel elements, output pixels, groups, stride) of a convolution."""
    x, w, stride, groups = args[0], args[1], args[3], args[8]
    pixels, step = product(out.shape[2:]), int(stride[0])
    if args[6]:  # transposed: each input pixel meets each kernel element
        pixels, step = product(x.shape[2:]), 1
    return int(x.shape[0]), int(x.shape[1]), int(out.shape[1]), product(w.shape[2:]), pixels, groups, step


def row_dims(name, args):
    """Return (rows, elements in one) of an operation that works along rows: those of batch norm and pooling are
    channels."""
    x = args[0]
    if "layer_norm" in name:
        width = product(args[1])
    elif "rms_norm" in name:
        width = product(args[1]) if args[1] else int(x.shape[-1])
    elif "softmax" in name:
        width = int(x.shape[args[1]])
    elif "group_norm" in name:
        width = product(x.shape[1:]) // int(args[6])
    else:
        width = product(x.shape[2:])
    return product(x.shape) // max(1, width), width


def flops_of(kind, dims):
    """Return the floating-point operations, a multiply-add counted as two. Causal attention is counted in full."""
    if kind == "gemm":
        return 2 * product(dims)
    if kind == "conv":
        images, cin, cout, kernel, pixels, groups, _ = dims
        return 2 * images * cin * cout * kernel * pixels // groups
    heads, queries, keys, inner, values = dims
    return 2 * heads * queries * keys * (inner + values)


class Counter:
    """Gathers operations; ``mode()`` is the dispatch mode that feeds it."""

    def __init__(self, torch, net):
        self.torch = torch
        self.groups = collections.OrderedDict()
        self.uncounted = collections.OrderedDict()
        self.weights = {storage(t): size_of(t) for t in [*net.parameters(), *net.buffers()]}
        self.touched = {}
        self.matrices = {}
        self.modules = self.views = 0

    def mode(self):
        counter, torch = self, self.torch

        class Mode(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                kwargs = kwargs or {}
                name = func._schema.name.partition("::")[2]
                if func.namespace == "prim":  # questions to a tensor, such as its device
                    return func(*args, **kwargs)
                if name not in OF_NAME:
                    with self:  # or what it consists of would go uncounted
                        out = func.decompose(*args, **kwargs)
                    if out is not NotImplemented:
                        return out
                if name == "_grouped_mm" and args[1].dim() == 3:  # its own shape function knows bfloat16 alone
                    out = args[0].new_empty(args[0].shape[0], args[1].shape[2])
                else:
                    out = func(*args, **kwargs)
                counter.add(func, name, args, kwargs, out)
                return out

        return Mode()

    def kind_of(self, func, name, inputs, outputs):
        """Return the class of an operator, ``free`` for views and questions, None where it is not known."""
        torch = self.torch
        if name in OF_NAME:
            return OF_NAME[name]
        if not outputs or name in FREE:
            return "free"
        changes = func._schema.is_mutable
        if not changes and {storage(t) for t in outputs} <= {storage(t) for t in inputs}:
            return "free"
        bare = name[:-1] if name.endswith("_") and not name.startswith("__") else name
        if bare in OF_NAME:
            return OF_NAME[bare]
        return "pointwise" if torch.Tag.pointwise in func.tags else None

    def add(self, func, name, args, kwargs, out):
        torch = self.torch
        inputs = list(inputs_of(torch, args, kwargs))
        outputs = list(tensors_in(torch, [out]))
        kind = self.kind_of(func, name, inputs, outputs)
        if kind == "free" or (kind == "create" and name.startswith(("empty", "new_empty"))):
            self.views += 1
            return
        weights = [t for t in inputs if storage(t) in self.weights]
        data = [t for t in inputs if storage(t) not in self.weights]
        written = sum(size_of(t) for t in outputs)
        read = sum(size_of(t) for t in data)
        weight = sum(size_of(t) for t in weights)
        if kind == "gather":  # a table is not read whole, but as many rows as come out
            weight, read = (min(weight, written), sum(size_of(t) for t in data[1:])) if weights else (0, written)
            if name.startswith("_embedding_bag"):  # many rows become one
                row = size_of(args[0]) // int(args[0].shape[0])
                rows = int(args[1].numel()) * row
                weight, read = (rows, size_of(args[1])) if weights else (0, rows + size_of(args[1]))
        if kind is None:
            calls, size = self.uncounted.get(str(func), (0, 0))
            self.uncounted[str(func)] = (calls + 1, size + read + weight + written)
            return
        dims, flops = (), 0
        if kind in ("norm", "softmax", "pool"):
            dims = row_dims(name, args)
        elif kind == "gemm":
            dims = gemm_dims(name, args)
            if name == "_grouped_mm":
                weight = self.experts(dims[1], args[1]) if weights else weight
        elif kind == "conv":
            dims = conv_dims(args, outputs[0])
        elif kind == "attention":
            q, k, v = args[:3]
            dims = (int(q.shape[0] * q.shape[1]), int(q.shape[2]), int(k.shape[2]), int(q.shape[3]), int(v.shape[3]))
            causal = next((a for a in args[4:6] if a is True), False)
            kind = "attention-causal" if causal else "attention"
            outputs = outputs[:1]
            written = size_of(outputs[0])
        for t in weights:
            self.touch(t, name, weight if kind == "gather" or name == "_grouped_mm" else size_of(t))
        dtype = str((outputs or inputs)[0].dtype).rpartition(".")[2]
        operands = [t for t in weights if t.dim() > 1] if kind == "gemm" and weights else data
        strided = kind in ("gemm", "copy") and any(not t.is_contiguous() for t in operands)
        if kind.partition("-")[0] in ("gemm", "conv", "attention"):
            flops = flops_of(kind.partition("-")[0], dims)
        self.put((kind, name, dtype, dims, flops, weight, read, written, strided))

    def experts(self, rows, table):
        """Return the bytes of a table of expert matrices that ``rows`` independent choices touch, in the mean."""
        count = int(table.shape[0])
        return int(size_of(table) * (1 - (1 - 1 / count) ** rows))

    def touch(self, tensor, name, size):
        key = storage(tensor)
        whole = self.weights[key]
        self.touched[key] = min(whole, max(self.touched.get(key, 0), size))
        if name in GEMM or name in CONV:
            self.matrices[key] = whole

    def put(self, key):
        self.groups[key] = self.groups.get(key, 0) + 1

    def entered(self, *_):
        self.modules += 1

    def result(self):
        fields = ("kind", "name", "dtype", "dims", "flops", "weight_bytes", "read_bytes", "written_bytes", "strided")
        operations = [dict(zip(fields, key), times=times) for key, times in self.groups.items()]
        total = sum((o["weight_bytes"] + o["read_bytes"] + o["written_bytes"]) * o["times"] for o in operations)
        uncounted = [{"name": n, "times": c, "bytes": size} for n, (c, size) in self.uncounted.items()]
        missing = sum(u["bytes"] for u in uncounted)
        if missing > MATTERS * (total + missing):
            worst = max(uncounted, key=lambda u: u["bytes"])
            raise Refused(
                "the count would miss %s (%d calls), which with its like touches %.0f %% of the bytes: its operations "
                "are not known" % (worst["name"], worst["times"], 100.0 * missing / (total + missing))
            )
        return {
            "operations": operations,
            "uncounted": uncounted,
            "weights_bytes": sum(self.weights.values()),
            "touched_bytes": sum(self.touched.values()),
            "modules": self.modules,
            "views": self.views,
        }


def count(torch, spec):
    """Return one net's operations as a JSON-ready dictionary. Raises Refused, NotBuilt, or what the net itself
    raises."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer, of which nothing would be counted
    dtype = getattr(torch, spec["dtype"])
    with torch.device("meta"):
        net, given = net_building.build(torch, spec)
    refuse_unlike_kinds(torch, net)
    net = net.to(dtype)
    named = given if isinstance(given, dict) else {"": given}
    # Without oneDNN an LSTM is counted by its products; which of its kernels would run is not a count's question.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        emptied(net)
        real = {name: faked(torch, value, dtype) for name, value in named.items()}
        kv = 0
        if spec["phase"] == "decode":
            with Counter(torch, net).mode():
                real = net_building.with_cache(torch, net, real, spec)
            kv = sum(size_of(t) for t in net_building.cache_tensors(real["past_key_values"]))
        counter = Counter(torch, net)
        hook = torch.nn.modules.module.register_module_forward_pre_hook(counter.entered)
        try:
            with counter.mode():
                net(*real[""]) if "" in real else net(**real)
        except RuntimeError as error:
            raise Refused(why(error, torch)) from error
        finally:
            hook.remove()
    parameters = sum(p.numel() for p in net.parameters())
    found = {"parameters": parameters, "kv_bytes": kv, **counter.result()}
    if ":" in spec["net"]:
        found["samples"] = net_building.samples_of(torch, given)
    return found


def emptied(net):
    """Give a net empty weights on the CPU in place of those on ``meta``. A weight that two modules share stays
    shared."""
    before = {name: id(p) for name, p in net.named_parameters(remove_duplicate=False)}
    net.to_empty(device="cpu")
    kept = {}
    for name, identity in before.items():
        where, _, attribute = name.rpartition(".")
        module = net.get_submodule(where)
        setattr(module, attribute, kept.setdefault(identity, getattr(module, attribute)))


def faked(torch, value, dtype):
    """Return the inputs as fake tensors on the CPU, floating-point ones in the net's type."""
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=dtype if value.is_floating_point() else value.dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(faked(torch, v, dtype) for v in value)
    return value


def refuse_unlike_kinds(torch, net):
    """Raise Refused for nets that do not run operation by operation in Python, or not in floating point."""
    for module in net.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise Refused(
                "it is compiled by torch.jit, so its operations never reach Python, where they are counted: give the "
                "net as it is before torch.jit.script or torch.jit.trace"
            )
        if ".quantized" in type(module).__module__:
            raise Refused(QUANTISED)


QUANTISED = (
    "it is quantised, and quantised operators have no shape functions, so their work is not known: give the net as it "
    "is before quantize_dynamic or its like, and ask for int8, int8-weights or int4-weights by --dtype"
)


def why(error, torch):
    """Return a failure under fake tensors in one line."""
    kind = type(error).__name__
    if "HigherOrderOperator" in str(error):
        name = str(error).partition("HigherOrderOperator ")[2].split(" ")[0] or "an operator"
        return (
            "it calls %s, which takes a function as an argument, so what it does is not known: scaled_dot_product_"
            "attention in its place can be counted" % name
        )
    if "Sparse" in str(error) or "sparse" in str(error):
        return "it computes with sparse tensors, whose work depends on how many of their values are zero: not counted"
    if "DataDependent" in kind or "data-dependent" in str(error).lower() or "GuardOnDataDependent" in kind:
        return "its control flow depends on the values of its data, which a count does not have (%s)" % kind
    if "DynamicOutputShape" in kind:
        return "an operator's shape depends on the values of its data, which a count does not have (%s)" % error
    text = (str(error).strip().splitlines() or [""])[0][:300]
    if "meta" in text.lower() or "fake" in text.lower() or "Unsupported" in kind:
        return "a custom operator has no shape function, so its operations are not known (%s)" % text
    return "%s: %s" % (kind, text)
