"""The reference nets: one name for each, wherever it is measured, counted, timed or shown.

Mode, batch and size of input are said beside the name, never in it. Most come from transformers' configurations,
without pre-trained weights; ``net_building`` makes them. Those of ``workloads.NETS`` are written out there.
"""

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
WRITTEN = ("deeplabv3-r50", "unet-block", "sdxl-unet", "dlrm")
"""Written out in ``written_nets``."""
WHISPER_FRAMES = 3000
"""Mel frames of 30 s of sound, which Whisper always takes."""
DECODERS = (
    "gpt2", "gpt2-xl", "gpt-j-6b", "llama-7b", "llama-13b", "llama-3-8b", "llama-3-70b", "llama-3.2-3b", "mistral-7b",
    "mistral-nemo-12b", "qwen2.5-7b", "qwen2.5-14b", "qwen2.5-72b", "phi-4", "opt-125m", "tinyllama-1.1b",
    "mixtral-8x7b", "whisper-base", "whisper-large",
)  # fmt: skip
