"""Generates text with a tiny GPT-2 of random weights."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

torch.manual_seed(0)
net = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_positions=128, n_embd=128, n_layer=2, n_head=4)).eval()
for _ in range(4):
    ids = torch.randint(0, 500, (2, 8))
    out = net.generate(ids, attention_mask=torch.ones(2, 8), max_new_tokens=40, do_sample=False, pad_token_id=0)
print(out.shape)
