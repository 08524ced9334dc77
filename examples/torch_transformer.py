"""Plain PyTorch: `rtxbench run --model examples/torch_transformer.py:build`; `gated` is the same model in the gate."""

import torch
from torch import nn


class Classifier(nn.Module):
    """A two-layer Transformer encoder over 64 tokens."""

    def __init__(self, vocabulary=1000, width=128, classes=10):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        """(batch, 64) token ids → (batch, classes) logits."""
        return self.head(self.encoder(self.embedding(tokens)).mean(dim=1))


def build(batch_size=16):
    """Model, one batch, loss, and what makes the optimizer of the model's parameters."""
    batch = torch.randint(0, 1000, (batch_size, 64)), torch.randint(0, 10, (batch_size,))
    return Classifier(), batch, nn.functional.cross_entropy, lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)


def gated():
    """Return one training step: `rtxbench gate --baseline main --cases examples.torch_transformer:gated`."""
    model, (tokens, labels), loss_of, optimizer_of = build()
    optimizer = optimizer_of(model.parameters())

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(tokens), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
