"""The reference nets: one name for each, wherever it is measured, counted, timed or shown.

Mode, batch and size of input are said beside the name, never in it. Most come from transformers' configurations,
without pre-trained weights; DeepLabV3 is written out here, and those of ``workloads.NETS`` there. Everything
is built on the device that is current: on ``meta`` nothing takes memory.
"""

import importlib
import inspect
import os
import sys

TEXT = {"tokens": 512}
IMAGE = {"side": 224}

BERT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
LLAMA_7B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
}
TINYLLAMA = {
    "hidden_size": 2048,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "intermediate_size": 5632,
    "vocab_size": 32000,
}
LLAMA_13B = {
    "hidden_size": 5120,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
    "intermediate_size": 13824,
    "vocab_size": 32000,
}
LLAMA_3_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
LLAMA_3_70B = {
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
}
LLAMA_32_3B = {
    "hidden_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}
MISTRAL_NEMO = {
    "hidden_size": 5120,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "vocab_size": 131072,
    "sliding_window": None,
}
QWEN_25_7B = {
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
}
QWEN_25_14B = {
    "hidden_size": 5120,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "intermediate_size": 13824,
    "vocab_size": 152064,
}
QWEN_25_72B = {
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 29568,
    "vocab_size": 152064,
}
PHI_4 = {
    "hidden_size": 5120,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 10,
    "intermediate_size": 17920,
    "vocab_size": 100352,
    "pad_token_id": 0,
}
OPT_125M = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "ffn_dim": 3072}
VIT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "num_labels": 1000,
}
VIT_HUGE = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "intermediate_size": 5120,
    "patch_size": 14,
    "num_labels": 1000,
}
WHISPER_LARGE = {
    "d_model": 1280,
    "encoder_layers": 32,
    "decoder_layers": 32,
    "encoder_attention_heads": 20,
    "decoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_ffn_dim": 5120,
}
WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "decoder_ffn_dim": 2048,
}

TITLES = {
    "bert-base": "BERT-base",
    "bert-large": "BERT-large",
    "gpt2": "GPT-2 small",
    "gpt2-xl": "GPT-2 XL",
    "llama-7b": "Llama 7B",
    "tinyllama-1.1b": "TinyLlama 1.1B",
    "mixtral-8x7b": "Mixtral 8x7B",
    "vit-b": "ViT-B",
    "vit-l": "ViT-L",
    "vit-h": "ViT-H",
    "convnext-t": "ConvNeXt-T",
    "convnext-l": "ConvNeXt-L",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "whisper-base": "Whisper base",
    "whisper-large": "Whisper large",
    "deeplabv3-r50": "DeepLabV3-R50",
    "unet-block": "A U-Net block",
    "gpt-j-6b": "GPT-J 6B",
    "llama-13b": "Llama 13B",
    "llama-3-8b": "Llama 3 8B",
    "llama-3-70b": "Llama 3 70B",
    "llama-3.2-3b": "Llama 3.2 3B",
    "mistral-7b": "Mistral 7B",
    "mistral-nemo-12b": "Mistral Nemo 12B",
    "qwen2.5-7b": "Qwen2.5 7B",
    "qwen2.5-14b": "Qwen2.5 14B",
    "qwen2.5-72b": "Qwen2.5 72B",
    "phi-4": "Phi-4 14B",
    "resnet101": "ResNet-101",
    "regnet-y-8g": "RegNetY-8GF",
    "efficientnet-b0": "EfficientNet-B0",
    "swin-t": "Swin-T",
    "distilbert": "DistilBERT",
    "t5-base": "T5-base",
    "clip-vit-b32": "CLIP ViT-B/32",
    "opt-125m": "OPT-125M",
    "sdxl-unet": "SDXL's U-Net",
    "dlrm": "DLRM",
}
"""Every net by its name, as a person reads it."""
NAMES = tuple(sorted(TITLES))

# name: (module of transformers, configuration, class, values that differ from the configuration's defaults, input)
TRANSFORMERS = {
    "bert-base": ("bert", "BertConfig", "BertModel", {}, TEXT),
    "bert-large": ("bert", "BertConfig", "BertModel", BERT_LARGE, TEXT),
    "gpt2": ("gpt2", "GPT2Config", "GPT2LMHeadModel", {}, TEXT),
    "gpt2-xl": ("gpt2", "GPT2Config", "GPT2LMHeadModel", {"n_embd": 1600, "n_layer": 48, "n_head": 25}, TEXT),
    "llama-7b": ("llama", "LlamaConfig", "LlamaForCausalLM", LLAMA_7B, TEXT),
    "tinyllama-1.1b": ("llama", "LlamaConfig", "LlamaForCausalLM", TINYLLAMA, TEXT),
    "mixtral-8x7b": ("mixtral", "MixtralConfig", "MixtralForCausalLM", {}, TEXT),
    "vit-b": ("vit", "ViTConfig", "ViTForImageClassification", {"num_labels": 1000}, IMAGE),
    "vit-l": ("vit", "ViTConfig", "ViTForImageClassification", VIT_LARGE, IMAGE),
    "vit-h": ("vit", "ViTConfig", "ViTForImageClassification", VIT_HUGE, IMAGE),
    "convnext-t": ("convnext", "ConvNextConfig", "ConvNextForImageClassification", {"num_labels": 1000}, IMAGE),
    "convnext-l": (
        "convnext",
        "ConvNextConfig",
        "ConvNextForImageClassification",
        {"num_labels": 1000, "hidden_sizes": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]},
        IMAGE,
    ),
    "resnet18": (
        "resnet",
        "ResNetConfig",
        "ResNetForImageClassification",
        {"num_labels": 1000, "layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
        IMAGE,
    ),
    "resnet50": ("resnet", "ResNetConfig", "ResNetForImageClassification", {"num_labels": 1000}, IMAGE),
    "mobilenetv2": (
        "mobilenet_v2",
        "MobileNetV2Config",
        "MobileNetV2ForImageClassification",
        {"num_labels": 1000, "tf_padding": False},
        IMAGE,
    ),
    "gpt-j-6b": ("gptj", "GPTJConfig", "GPTJForCausalLM", {}, TEXT),
    "llama-13b": ("llama", "LlamaConfig", "LlamaForCausalLM", LLAMA_13B, TEXT),
    "llama-3-8b": ("llama", "LlamaConfig", "LlamaForCausalLM", LLAMA_3_8B, TEXT),
    "llama-3-70b": ("llama", "LlamaConfig", "LlamaForCausalLM", LLAMA_3_70B, TEXT),
    "llama-3.2-3b": ("llama", "LlamaConfig", "LlamaForCausalLM", LLAMA_32_3B, TEXT),
    "mistral-7b": ("mistral", "MistralConfig", "MistralForCausalLM", {"sliding_window": None}, TEXT),
    "mistral-nemo-12b": ("mistral", "MistralConfig", "MistralForCausalLM", MISTRAL_NEMO, TEXT),
    "qwen2.5-7b": ("qwen2", "Qwen2Config", "Qwen2ForCausalLM", QWEN_25_7B, TEXT),
    "qwen2.5-14b": ("qwen2", "Qwen2Config", "Qwen2ForCausalLM", QWEN_25_14B, TEXT),
    "qwen2.5-72b": ("qwen2", "Qwen2Config", "Qwen2ForCausalLM", QWEN_25_72B, TEXT),
    "phi-4": ("phi3", "Phi3Config", "Phi3ForCausalLM", PHI_4, TEXT),
    "resnet101": (
        "resnet",
        "ResNetConfig",
        "ResNetForImageClassification",
        {"num_labels": 1000, "depths": [3, 4, 23, 3]},
        IMAGE,
    ),
    "regnet-y-8g": (
        "regnet",
        "RegNetConfig",
        "RegNetForImageClassification",
        {"num_labels": 1000, "hidden_sizes": [224, 448, 896, 2016], "depths": [2, 4, 10, 1], "groups_width": 56},
        IMAGE,
    ),
    "efficientnet-b0": (
        "efficientnet",
        "EfficientNetConfig",
        "EfficientNetForImageClassification",
        {"num_labels": 1000, "width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": 1280},
        IMAGE,
    ),
    "swin-t": ("swin", "SwinConfig", "SwinForImageClassification", {"num_labels": 1000}, IMAGE),
    "distilbert": ("distilbert", "DistilBertConfig", "DistilBertModel", {}, TEXT),
    "t5-base": (
        "t5",
        "T5Config",
        "T5Model",
        {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
        {"tokens": 128},
    ),
    "clip-vit-b32": ("clip", "CLIPVisionConfig", "CLIPVisionModel", {}, IMAGE),
    "opt-125m": ("opt", "OPTConfig", "OPTForCausalLM", OPT_125M, TEXT),
    "whisper-base": ("whisper", "WhisperConfig", "WhisperForConditionalGeneration", WHISPER_BASE, {"tokens": 64}),
    "whisper-large": ("whisper", "WhisperConfig", "WhisperForConditionalGeneration", WHISPER_LARGE, {"tokens": 64}),
}
PLAIN = {"deeplabv3-r50": {"side": 512, "channels": 3}, "unet-block": {"side": 32, "channels": 320}}
"""Written out here: the side and the channels of the image that they take."""
OTHERS = ("sdxl-unet", "dlrm")
"""Written out in ``more_nets``."""
WHISPER_FRAMES = 3000
"""Mel frames of 30 s of sound, which Whisper always takes."""
DECODERS = (
    "gpt2", "gpt2-xl", "gpt-j-6b", "llama-7b", "llama-13b", "llama-3-8b", "llama-3-70b", "llama-3.2-3b", "mistral-7b",
    "mistral-nemo-12b", "qwen2.5-7b", "qwen2.5-14b", "qwen2.5-72b", "phi-4", "opt-125m", "tinyllama-1.1b",
    "mixtral-8x7b", "whisper-base", "whisper-large",
)  # fmt: skip


class NotBuilt(Exception):
    """The net cannot be built, in one line that says why."""


def build(torch, spec):
    """Return the net in evaluation mode and its keyword arguments, on the current device.

    ``spec``: ``net`` (a name, or ``module:function`` of the person's own), ``batch``, and ``tokens`` or ``side``.
    """
    if ":" in spec["net"]:
        return build_user_net(torch, spec)
    if spec["net"] in PLAIN:
        net = {"deeplabv3-r50": deeplabv3_r50, "unet-block": unet_block}[spec["net"]](torch)
        image = PLAIN[spec["net"]]
        side = spec.get("side") or image["side"]
        return net.eval(), {"x": torch.zeros(spec["batch"], image["channels"], side, side)}
    if spec["net"] in OTHERS:
        more = importlib.import_module(".more_nets", __package__)
        net, given = more.NETS[spec["net"]](torch, spec)
        return net.eval(), given
    if spec["net"] not in TRANSFORMERS:
        raise NotBuilt("no net %r (known: %s; or module:function)" % (spec["net"], ", ".join(NAMES)))
    module, configuration, architecture, values, size = TRANSFORMERS[spec["net"]]
    try:
        found = importlib.import_module("transformers.models.%s.modeling_%s" % (module, module))
        config_of = importlib.import_module("transformers.models.%s.configuration_%s" % (module, module))
    except ImportError as error:
        raise NotBuilt("%s needs transformers in that interpreter: %s" % (spec["net"], str(error).splitlines()[0]))
    config = getattr(config_of, configuration)(**values)
    net = getattr(found, architecture)(config).eval()
    return net, inputs(torch, module, spec, size)


def inputs(torch, module, spec, size):
    batch = spec["batch"]
    if "side" in size:
        side = spec.get("side") or size["side"]
        return {"pixel_values": torch.zeros(batch, 3, side, side)}
    tokens = torch.zeros(batch, spec.get("tokens") or size["tokens"], dtype=torch.long)
    if module == "whisper":
        return {"input_features": torch.zeros(batch, 80, WHISPER_FRAMES), "decoder_input_ids": tokens}
    if module in ("bert", "distilbert"):
        return {"input_ids": tokens}
    if module == "t5":
        return {"input_ids": tokens, "decoder_input_ids": tokens, "use_cache": False}
    return {"input_ids": tokens, "use_cache": spec["phase"] == "decode"}


def import_transformers(specs):
    """Import transformers before the clock runs, if one of these nets needs it: that takes two seconds which are
    nobody's own."""
    if any(spec.get("net") in TRANSFORMERS for spec in specs):
        try:
            importlib.import_module("transformers.modeling_utils")
        except ImportError:
            pass  # said where the net is built


def build_user_net(torch, spec):
    """Return the net and the inputs of ``module:function`` or ``file.py:function``, as a tuple or a dictionary.

    Where the function takes ``batch`` or ``tokens``, it is given those that were asked for; else the inputs that it
    brings are made as long. The function runs the person's own code, as importing it would.
    """
    where = spec["net"]
    module, _, function = where.rpartition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if module.endswith(".py"):
        sys.path.insert(0, os.path.dirname(os.path.abspath(module)))
        module = os.path.basename(module)[:-3]
    wanted = {"tokens": spec.get("tokens"), "batch": spec["batch"] if spec.get("resize") else None}
    try:
        found = getattr(importlib.import_module(module), function)
        takes = inspect.signature(found).parameters
        passed = {name: value for name, value in wanted.items() if value is not None and name in takes}
        made = found(**passed)
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        if "meta tensor" in text.lower():
            raise NotBuilt(
                "%s reads the values of its weights while it is built, as quantize_dynamic does, and a count has none: "
                "give the net before that, and ask for int8, int8-weights or int4-weights by --dtype" % where
            )
        raise NotBuilt("%s: %s: %s" % (where, type(error).__name__, text))
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module):
        net, given = made
        if isinstance(given, (dict, tuple)):
            left = {name: value for name, value in wanted.items() if value is not None and name not in passed}
            return net.eval(), resized(torch, where, given, left)
    raise NotBuilt("%s must give (net, inputs): a torch.nn.Module and a tuple or dictionary of its inputs" % where)


def samples_of(torch, given):
    """Return how many samples inputs hold: the first dimension that all their tensors share; None without one."""
    values = given.values() if isinstance(given, dict) else given
    lengths = {int(v.shape[0]) for v in values if isinstance(v, torch.Tensor) and v.dim()}
    return lengths.pop() if len(lengths) == 1 else None


def resized(torch, where, given, wanted):
    """Return inputs of another batch, or of so many tokens; raises NotBuilt where it does not follow from them how."""
    if not wanted:
        return given
    samples = samples_of(torch, given)
    if samples is None:
        raise NotBuilt(
            "%s brings inputs that share no first dimension, so which is the batch is not known: let the function "
            "take %s" % (where, " and ".join(sorted(wanted)))
        )
    batch, tokens = wanted.get("batch") or samples, wanted.get("tokens")
    texts = [v for v in (given.values() if isinstance(given, dict) else given) if is_text(torch, v)]
    if tokens and not texts:
        raise NotBuilt(
            "%s brings no token ids (integers in two dimensions), so --tokens means nothing: let the function take "
            "tokens" % where
        )

    def one(value):
        if not isinstance(value, torch.Tensor) or not value.dim():
            return value
        shape = [batch] + [int(n) for n in value.shape[1:]]
        if tokens and value.dim() == 2 and shape[1] == int(texts[0].shape[1]):
            shape[1] = tokens
        return value.new_zeros(shape)

    return {k: one(v) for k, v in given.items()} if isinstance(given, dict) else tuple(one(v) for v in given)


def is_text(torch, value):
    """Return whether an input is token ids: integers in two dimensions."""
    return isinstance(value, torch.Tensor) and value.dim() == 2 and value.dtype in (torch.int64, torch.int32)


def with_cache(torch, net, given, spec):
    """Run the prefill, and return the inputs of one decoding step whose context of ``tokens`` is in the cache."""
    name = "decoder_input_ids" if "decoder_input_ids" in given else "input_ids"
    if name not in given:
        raise NotBuilt("%s has no decoding step: its inputs are no dictionary with input_ids" % spec["net"])
    try:
        first = net(**{**given, "use_cache": True})
        if not any(hasattr(first.past_key_values, name) for name in ("layers", "self_attention_cache")):
            raise TypeError("its past_key_values is no cache of transformers")
    except (TypeError, AttributeError) as error:
        raise NotBuilt("%s has no decoding step that is known: it takes or gives no cache (%s)" % (spec["net"], error))
    cache = first.past_key_values
    for layer in getattr(cache, "self_attention_cache", cache).layers:  # as each later step leaves them
        layer.keys, layer.values = layer.keys.contiguous(), layer.values.contiguous()
    following = {name: given[name][:, :1], "past_key_values": first.past_key_values, "use_cache": True}
    if name == "decoder_input_ids":
        following["encoder_outputs"] = (first.encoder_last_hidden_state,)
    return following


def cache_tensors(cache):
    """Yield all keys and values that a cache of transformers holds."""
    for part in ("self_attention_cache", "cross_attention_cache"):
        if hasattr(cache, part):
            for tensor in cache_tensors(getattr(cache, part)):
                yield tensor
    for layer in getattr(cache, "layers", ()):
        yield layer.keys
        yield layer.values


def deeplabv3_r50(torch):
    """Return DeepLabV3 on ResNet-50 (Chen et al. 2017, "Rethinking Atrous Convolution"), output stride 8, 21
    classes."""
    nn = torch.nn

    def conv(cin, cout, kernel=1, stride=1, dilation=1, relu=True):
        pad = dilation * (kernel // 2)
        layers = [nn.Conv2d(cin, cout, kernel, stride, pad, dilation, bias=False), nn.BatchNorm2d(cout)]
        return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))

    class Bottleneck(nn.Module):
        def __init__(self, cin, width, stride, dilation):
            super().__init__()
            self.body = nn.Sequential(
                conv(cin, width), conv(width, width, 3, stride, dilation), conv(width, 4 * width, relu=False)
            )
            same = cin == 4 * width and stride == 1
            self.skip = nn.Identity() if same else conv(cin, 4 * width, 1, stride, relu=False)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.body(x) + self.skip(x))

    def stage(cin, width, blocks, stride, first_dilation, dilation):
        first = Bottleneck(cin, width, stride, first_dilation)
        return [first] + [Bottleneck(4 * width, width, 1, dilation) for _ in range(blocks - 1)]

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([conv(2048, 256)] + [conv(2048, 256, 3, 1, rate) for rate in (12, 24, 36)])
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(2048, 256))
            self.project = conv(5 * 256, 256)

        def forward(self, x):
            mean = nn.functional.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
            return self.project(torch.cat([*[branch(x) for branch in self.branches], mean], 1))

    class DeepLab(nn.Module):
        def __init__(self):
            super().__init__()
            blocks = stage(64, 64, 3, 1, 1, 1) + stage(256, 128, 4, 2, 1, 1)
            blocks += stage(512, 256, 6, 1, 1, 2) + stage(1024, 512, 3, 1, 2, 4)
            self.backbone = nn.Sequential(conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *blocks)
            self.head = nn.Sequential(Pyramid(), conv(256, 256, 3), nn.Conv2d(256, 21, 1))

        def forward(self, x):
            found = self.head(self.backbone(x))
            return nn.functional.interpolate(found, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return DeepLab()


def unet_block(torch, channels=320, heads=8):
    """Return a block of the U-Net of latent diffusion (Rombach et al. 2022): residual convolutions, then
    self-attention."""
    nn = torch.nn

    class UnetBlock(nn.Module):
        def __init__(self):
            super().__init__()
            parts = [[nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, 1, 1)] for _ in range(2)]
            self.body = nn.Sequential(*parts[0], *parts[1])
            self.norm = nn.GroupNorm(32, channels)
            self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

        def forward(self, x):
            x = x + self.body(x)
            n, c, h, w = x.shape
            pixels = self.norm(x).view(n, c, h * w).transpose(1, 2)
            q, k, v = self.qkv(pixels).view(n, h * w, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
            return x + self.project(mixed).transpose(1, 2).reshape(n, c, h, w)

    return UnetBlock()
