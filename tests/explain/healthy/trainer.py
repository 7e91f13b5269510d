"""Trains a tiny GPT-2 with the Trainer of transformers."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

torch.manual_seed(0)


class Tokens(torch.utils.data.Dataset):
    def __len__(self):
        return 128

    def __getitem__(self, i):
        ids = torch.randint(0, 500, (48,))
        return {"input_ids": ids, "labels": ids}


if __name__ == "__main__":
    net = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_positions=64, n_embd=64, n_layer=2, n_head=4))
    with tempfile.TemporaryDirectory() as place:
        args = TrainingArguments(
            place, num_train_epochs=2, per_device_train_batch_size=8, report_to=[], save_strategy="no", use_cpu=True,
            logging_steps=8,
        )  # fmt: skip
        Trainer(model=net, args=args, train_dataset=Tokens()).train()
