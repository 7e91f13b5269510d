"""Operations of packages: small, but through the kernels that have killed people's processes."""


def torch_matmul():
    import torch

    a = torch.randn(96, 96)
    assert torch.allclose(a @ a.inverse(), torch.eye(96), atol=1e-1)
    torch.sigmoid(torch.randn(10000)).sum().item()  # ATen's own vectorised kernels


def torch_conv():
    import torch

    torch.nn.functional.conv2d(torch.randn(1, 8, 32, 32), torch.randn(8, 8, 3, 3)).sum().item()


def torch_bf16():
    import torch

    a = torch.randn(64, 64)
    (a.bfloat16() @ a.bfloat16()).float().sum().item()
    (a.half() @ a.half()).float().sum().item()


def torch_sdpa():
    import torch

    q = torch.randn(1, 4, 64, 32)
    torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).sum().item()


def torch_svd():
    import torch

    torch.linalg.svd(torch.randn(48, 48))
    torch.fft.rfft(torch.randn(1024))


def torch_quantized():
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(64, 64))
    torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)(torch.randn(4, 64))


def torchvision_resize():
    import torch
    import torchvision

    torchvision.transforms.functional.resize(torch.rand(3, 64, 64), [32, 32])


def torchvision_nms():
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.1], [8.0, 8.0, 9.0, 9.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def numpy_matmul():
    import numpy

    a = numpy.random.default_rng(1).random((96, 96))
    assert numpy.isfinite(a @ a).all()
    numpy.linalg.svd(a)
    numpy.sin(a).sum()
    numpy.sort(a.ravel())


def scipy_linalg():
    import numpy
    import scipy.fft
    import scipy.linalg
    import scipy.sparse

    a = numpy.random.default_rng(1).random((64, 64))
    scipy.linalg.lu(a)
    scipy.fft.fft(a)
    (scipy.sparse.csr_matrix(a) @ a).sum()


def pandas_groupby():
    import pandas

    pandas.DataFrame({"a": [1, 2, 1] * 100, "b": [1.0, 2.0, 3.0] * 100}).groupby("a").b.mean()


def polars_filter():
    import polars

    polars.DataFrame({"a": list(range(1000))}).filter(polars.col("a") > 10).sum()


def duckdb_query():
    import duckdb

    duckdb.connect().execute("select sum(range) from range(1000)").fetchall()


def bitsandbytes_quantize():
    import torch
    from bitsandbytes import functional

    functional.quantize_blockwise(torch.randn(4096))


def opencv_resize():
    import cv2
    import numpy

    cv2.GaussianBlur(cv2.resize(numpy.zeros((64, 64, 3), numpy.uint8), (32, 32)), (5, 5), 0)


def pillow_resize():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").resize((32, 32), Image.LANCZOS).save(file, "JPEG")
    Image.open(file).load()


def pyarrow_compute():
    import pyarrow
    import pyarrow.compute

    pyarrow.compute.sum(pyarrow.array(range(1000)))


def onnxruntime_session():
    import numpy
    import onnxruntime

    # An ONNX model Y = MatMul(X, X) of 16 x 16 floats, as protobuf; see onnx.proto for the field numbers.
    def field(number, kind, value):
        if kind == 0:
            return bytes([number << 3, value])
        return bytes([number << 3 | 2, len(value)]) + value

    shape = field(2, 2, b"".join(field(1, 2, field(1, 0, 16)) for _ in range(2)))
    tensor = field(1, 2, field(1, 0, 1) + shape)
    node = field(1, 2, b"X") + field(1, 2, b"X") + field(2, 2, b"Y") + field(4, 2, b"MatMul")
    ends = [field(n, 2, field(1, 2, name) + field(2, 2, tensor)) for n, name in ((11, b"X"), (12, b"Y"))]
    graph = field(1, 2, node) + field(2, 2, b"g") + b"".join(ends)
    model = field(1, 0, 8) + field(7, 2, graph) + field(8, 2, field(1, 2, b"") + field(2, 0, 17))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {"X": numpy.ones((16, 16), numpy.float32)})


def sentencepiece_processor():
    import sentencepiece

    sentencepiece.SentencePieceProcessor()


def sklearn_fit():
    import numpy
    from sklearn.cluster import KMeans

    KMeans(2, n_init=1).fit(numpy.random.default_rng(1).random((64, 4)))


def numexpr_evaluate():
    import numexpr
    import numpy

    a = numpy.arange(1000.0)
    numexpr.evaluate("sin(a) + a", {"a": a})


def numba_jit():
    import numba

    assert numba.njit(lambda x: x + 1)(1) == 2


def faiss_search():
    import faiss
    import numpy

    index = faiss.IndexFlatL2(16)
    index.add(numpy.ones((64, 16), "float32"))
    index.search(numpy.ones((1, 16), "float32"), 3)


def tokenizers_encode():
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.BPE()).encode("a")


OPERATIONS = {  # operation: (import name of the package that it tests, the function)
    "torch-matmul": ("torch", torch_matmul),
    "torch-conv": ("torch", torch_conv),
    "torch-bf16": ("torch", torch_bf16),
    "torch-sdpa": ("torch", torch_sdpa),
    "torch-svd": ("torch", torch_svd),
    "torch-quantized": ("torch", torch_quantized),
    "torchvision-resize": ("torchvision", torchvision_resize),
    "torchvision-nms": ("torchvision", torchvision_nms),
    "numpy-matmul": ("numpy", numpy_matmul),
    "scipy-linalg": ("scipy", scipy_linalg),
    "pandas-groupby": ("pandas", pandas_groupby),
    "polars-filter": ("polars", polars_filter),
    "duckdb-query": ("duckdb", duckdb_query),
    "bitsandbytes-quantize": ("bitsandbytes", bitsandbytes_quantize),
    "opencv-resize": ("cv2", opencv_resize),
    "pillow-resize": ("PIL", pillow_resize),
    "pyarrow-compute": ("pyarrow", pyarrow_compute),
    "onnxruntime-session": ("onnxruntime", onnxruntime_session),
    "sentencepiece-processor": ("sentencepiece", sentencepiece_processor),
    "sklearn-fit": ("sklearn", sklearn_fit),
    "numexpr-evaluate": ("numexpr", numexpr_evaluate),
    "numba-jit": ("numba", numba_jit),
    "faiss-search": ("faiss", faiss_search),
    "tokenizers-encode": ("tokenizers", tokenizers_encode),
}
