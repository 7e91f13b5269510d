"""Building the reference nets, and those of a person's own, with inputs of the size that is asked for.

Everything is built on the device that is current: on ``meta`` nothing takes memory.
"""

import importlib
import inspect
import os
import sys

from .nets import NAMES, TRANSFORMERS, WHISPER_FRAMES, WRITTEN


class NotBuilt(Exception):
    """The net cannot be built, in one line that says why."""


def build(torch, spec):
    """Return the net in evaluation mode and its keyword arguments, on the current device.

    ``spec``: ``net`` (a name, or ``module:function`` of the person's own), ``batch``, and ``tokens`` or ``side``.
    """
    if ":" in spec["net"]:
        return build_user_net(torch, spec)
    if spec["net"] in WRITTEN:
        net, given = importlib.import_module(".written_nets", __package__).NETS[spec["net"]](torch, spec)
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
