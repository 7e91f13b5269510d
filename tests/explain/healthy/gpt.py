"""Trains a small language model of the GPT kind on random tokens."""

import torch
from torch import nn

torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, norm_first=True, dropout=0.0)
net = nn.ModuleDict(
    {
        "tokens": nn.Embedding(1000, 128),
        "blocks": nn.TransformerEncoder(layer, 4, enable_nested_tensor=False),
        "head": nn.Linear(128, 1000),
    }
)
mask = nn.Transformer.generate_square_subsequent_mask(64)
best = torch.optim.AdamW(net.parameters(), lr=3e-4)
for step in range(24):
    tokens = torch.randint(0, 1000, (8, 65))
    logits = net["head"](net["blocks"](net["tokens"](tokens[:, :-1]), mask=mask, is_causal=True))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    best.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    best.step()
    if step % 8 == 0:
        print(step, round(loss.item(), 3))
