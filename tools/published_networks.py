"""Networks that no package offers, built by shape from what their publisher ran (NVIDIA DeepLearningExamples).

Only shapes matter here: they are never trained, and no weight has a value. Recurrent layers are written out as cuDNN
runs them: one product for all inputs, one recurrent product a step.
"""

import itertools
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812  # what everybody calls it
from torch import Tensor, nn

__all__ = ["GNMT", "NCF", "SSD300", "AlexNet", "Tacotron2", "TransformerXL", "WaveGlow"]


class AlexNet(nn.Module):
    """Krizhevsky 2014, one tower."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
        layers: list[nn.Module] = []
        for place, (inputs, outputs, kernel, stride, padding) in enumerate(sizes):
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU(True)]
            layers += [nn.MaxPool2d(3, 2)] if place in (0, 1, 4) else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True)),
            nn.Linear(4096, 1000),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of 224×224 images."""
        result: Tensor = self.classifier(self.features(images).flatten(1))
        return result


class SSD300(nn.Module):
    """SSD300 v1.1: ResNet-50 up to its third stage at stride 8, five extra levels, 81 classes, 8,732 boxes."""

    def __init__(self, resnet: Any) -> None:
        super().__init__()
        for block in resnet.layer3:
            block.conv2.stride = (1, 1)
        resnet.layer3[0].downsample[0].stride = (1, 1)
        self.features = nn.Sequential(
            *(resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool, resnet.layer1, resnet.layer2, resnet.layer3)
        )
        channels, between, boxes = (1024, 512, 512, 256, 256, 256), (256, 256, 128, 128, 128), (4, 6, 6, 6, 4, 4)
        self.extra = nn.ModuleList()
        for place, width in enumerate(between):
            options: dict[str, int] = {"padding": 1, "stride": 2} if place < 3 else {}
            outputs = channels[place + 1]
            self.extra.append(
                nn.Sequential(
                    *(nn.Conv2d(channels[place], width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)),
                    nn.Conv2d(width, outputs, 3, bias=False, **options),  # type: ignore[arg-type]
                    *(nn.BatchNorm2d(outputs), nn.ReLU(True)),
                )
            )
        pairs = tuple(zip(channels, boxes, strict=True))
        self.places = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in pairs)
        self.classes = nn.ModuleList(nn.Conv2d(c, n * 81, 3, padding=1) for c, n in pairs)

    def forward(self, images: Tensor) -> Tensor:
        """Loss on 300×300 images: smooth L1 of the boxes and cross-entropy with hard negatives."""
        batch, levels = images.shape[0], [self.features(images)]
        for extra in self.extra:
            levels.append(extra(levels[-1]))
        both = tuple(zip(levels, self.places, self.classes, strict=True))
        boxes = torch.cat([place(x).reshape(batch, 4, -1) for x, place, _ in both], 2).float()
        scores = torch.cat([label(x).reshape(batch, 81, -1) for x, _, label in both], 2).float()
        off = F.smooth_l1_loss(boxes, torch.randn(batch, 4, boxes.shape[2]), reduction="none").sum(1)
        wrong = F.cross_entropy(scores, torch.zeros(batch, boxes.shape[2], dtype=torch.long), reduction="none")
        _, order = wrong.detach().sort(1, descending=True)
        _, rank = order.sort(1)
        return off.mean() + (wrong * (rank < 100).float()).mean()


def _lstm(layer: nn.LSTM, inputs: Tensor) -> Tensor:
    """A layer over inputs (time, batch, width), each direction in turn."""
    directions = []
    for suffix in ("", "_reverse") if layer.bidirectional else ("",):
        weights = [getattr(layer, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        gates = F.linear(inputs, weights[0], weights[2])
        hidden = cell = inputs.new_zeros(inputs.shape[1], layer.hidden_size)
        outputs = []
        for step in gates:
            hidden, cell = _gated(step + F.linear(hidden, weights[1], weights[3]), cell)
            outputs.append(hidden)
        directions.append(torch.stack(outputs))
    return directions[0] if len(directions) == 1 else torch.cat(directions, 2)


def _gated(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    taken, kept, new, shown = gates.chunk(4, 1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(shown) * torch.tanh(cell), cell


class GNMT(nn.Module):
    """GNMT v2: four encoder and four decoder layers of 1,024, attention, 32,320 tokens; sentences of 25."""

    def __init__(self, tokens: int = 32320, width: int = 1024, length: int = 25) -> None:
        super().__init__()
        self.length = length
        self.embedding, self.target = nn.Embedding(tokens, width), nn.Embedding(tokens, width)
        self.first = nn.LSTM(width, width, bidirectional=True)
        self.encoder = nn.ModuleList([nn.LSTM(2 * width, width), nn.LSTM(width, width), nn.LSTM(width, width)])
        self.start = nn.LSTM(width, width)
        self.decoder = nn.ModuleList([nn.LSTM(2 * width, width) for _ in range(3)])
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.score, self.out = nn.Parameter(torch.zeros(width)), nn.Linear(width, tokens)

    def forward(self, batch: int) -> Tensor:
        """Loss with label smoothing on a batch of sentences."""
        words = torch.ones(self.length, batch, dtype=torch.long)
        source = _lstm(self.first, F.dropout(self.embedding(words), 0.2))
        for place, layer in enumerate(self.encoder):
            deeper = _lstm(layer, F.dropout(source, 0.2))  # type: ignore[arg-type]
            source = source + deeper if place else deeper
        target = _lstm(self.start, F.dropout(self.target(words), 0.2))
        queries, keys = self.query(target.transpose(0, 1)), self.key(source.transpose(0, 1))
        scores = torch.tanh(queries.unsqueeze(2) + keys.unsqueeze(1)) @ self.score.to(queries.dtype)
        seen = (torch.softmax(scores, -1).to(keys.dtype) @ source.transpose(0, 1)).transpose(0, 1)
        for place, layer in enumerate(self.decoder):
            deeper = _lstm(layer, F.dropout(torch.cat([target, seen], 2), 0.2))  # type: ignore[arg-type]
            target = target + deeper if place else deeper
        logs = F.log_softmax(self.out(target).float().flatten(0, 1), -1)
        right = logs.gather(1, torch.zeros(len(logs), 1, dtype=torch.long)).squeeze(1)
        return (-0.9 * right - 0.1 * logs.mean(-1)).sum()


class NCF(nn.Module):
    """Neural collaborative filtering on MovieLens 20M: 138,493 users, 26,744 items."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.ModuleList([nn.Embedding(n, 64) for n in (138493, 26744)])
        self.inputs = nn.ModuleList([nn.Embedding(n, 128) for n in (138493, 26744)])
        layers: list[nn.Module] = []
        for one, other in ((256, 256), (256, 128), (128, 64)):
            layers += [nn.Linear(one, other), nn.ReLU(), nn.Dropout(0.5)]
        self.layers, self.out = nn.Sequential(*layers), nn.Linear(128, 1)

    def forward(self, batch: int) -> Tensor:
        """Binary cross-entropy of a batch of (user, item) pairs."""
        ids = torch.zeros(batch, dtype=torch.long)
        product = self.factors[0](ids) * self.factors[1](ids)
        deep = self.layers(torch.cat([table(ids) for table in self.inputs], 1))
        return F.binary_cross_entropy_with_logits(
            self.out(torch.cat([product, deep], 1)).float(), torch.zeros(batch, 1)
        )


_TOKENS: Final = 267735
_CUTOFFS: Final = (0, 19997, 39997, 199997, _TOKENS)
_SHARES: Final = (0.1, 0.07, 0.03)
"""Of the text that lies in the rarer clusters of the adaptive softmax: a Zipf law over WikiText-103's vocabulary."""


class TransformerXL(nn.Module):
    """Transformer-XL on WikiText-103: adaptive embeddings and softmax, relative positions, memory as long as text."""

    def __init__(self, layers: int, width: int, heads: int, inner: int, length: int, divisor: int) -> None:
        super().__init__()
        self.width, self.heads, self.length = width, heads, length
        sizes = [(after - before, width // divisor**i) for i, (before, after) in enumerate(_pairs(_CUTOFFS))]
        self.tables = nn.ModuleList(nn.Embedding(n, d) for n, d in sizes)
        self.widen = nn.ModuleList(nn.Linear(d, width, bias=False) for _, d in sizes)
        self.head = nn.Linear(width, _CUTOFFS[1] + 3)
        self.tails = nn.ModuleList(
            nn.Sequential(nn.Linear(width, d, bias=False), nn.Linear(d, n)) for n, d in sizes[1:]
        )
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "qkv": nn.Linear(width, 3 * width, bias=False),
                    "position": nn.Linear(width, width, bias=False),
                    "out": nn.Linear(width, width, bias=False),
                    "norm": nn.LayerNorm(width),
                    "inner": nn.Sequential(
                        *(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(0.1), nn.Linear(inner, width), nn.Dropout(0.1))
                    ),
                    "norm2": nn.LayerNorm(width),
                }
            )
            for _ in range(layers)
        )
        self.bias = nn.Parameter(torch.zeros(2, heads, width // heads))

    def forward(self, batch: int) -> Tensor:
        """Loss on a batch of segments."""
        count = self.length * batch
        rare = [max(1, int(count * share)) for share in _SHARES]
        counts = [count - sum(rare), *rare]
        ids = torch.zeros(count, dtype=torch.long)
        parts = [w(t(ids[:n])) for t, w, n in zip(self.tables, self.widen, counts, strict=True)]
        text = F.dropout(torch.cat(parts).reshape(self.length, batch, self.width), 0.1)
        for layer in self.layers:
            text = self._layer(layer, text)
        flat = text.reshape(count, self.width)
        loss = -F.log_softmax(self.head(flat).float(), 1)[:, 0].sum()
        for tail, n in zip(self.tails, rare, strict=True):
            loss = loss - F.log_softmax(tail(flat[:n]).float(), 1)[:, 0].sum()
        return loss

    def _layer(self, layer: Any, text: Tensor) -> Tensor:
        length, batch, keys = self.length, text.shape[1], 2 * self.length
        memory = torch.zeros(length, batch, self.width, dtype=text.dtype)
        parts = layer["qkv"](torch.cat([memory, text])).chunk(3, 2)
        query = parts[0][-length:].reshape(length, batch, self.heads, -1)
        key, value = (part.reshape(keys, batch, self.heads, -1) for part in parts[1:])
        place = layer["position"](torch.zeros(keys, 1, self.width)).reshape(keys, self.heads, -1)
        content = torch.einsum("ibnd,jbnd->bnij", query + self.bias[0].to(query.dtype), key)
        where = torch.einsum("ibnd,jnd->bnij", query + self.bias[1].to(query.dtype), place)
        padded = torch.cat([torch.zeros(batch, self.heads, length, 1, dtype=where.dtype), where], 3)
        where = padded.reshape(batch, self.heads, keys + 1, length)[:, :, 1:].reshape(content.shape)
        scores = ((content + where) * 0.1).masked_fill(torch.zeros(length, keys, dtype=torch.bool), -1e4)
        shares = F.dropout(torch.softmax(scores, -1), 0.1)
        seen = torch.einsum("bnij,jbnd->ibnd", shares.to(value.dtype), value).reshape(text.shape)
        text = layer["norm"](text + F.dropout(layer["out"](seen), 0.1))
        result: Tensor = layer["norm2"](text + layer["inner"](text))
        return result


def _pairs(values: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(values))


class _WaveNet(nn.Module):
    """One coupling network of WaveGlow: eight dilated convolutions of 512 channels."""

    def __init__(self, inputs: int, mel: int = 640, width: int = 512, layers: int = 8) -> None:
        super().__init__()
        self.width = width
        self.start, self.end = nn.Conv1d(inputs, width, 1), nn.Conv1d(width, 2 * inputs, 1)
        dilations = [2**i for i in range(layers)]
        self.inner = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, dilation=d, padding=d) for d in dilations)
        self.condition = nn.ModuleList(nn.Conv1d(mel, 2 * width, 1) for _ in dilations)
        self.skip = nn.ModuleList(nn.Conv1d(width, 2 * width if d < dilations[-1] else width, 1) for d in dilations)

    def forward(self, audio: Tensor, mel: Tensor) -> Tensor:
        """Scale and shift of the other half."""
        audio, total = self.start(audio), None
        for inner, condition, skip in zip(self.inner, self.condition, self.skip, strict=True):
            gates = inner(audio) + condition(mel)
            both = skip(torch.tanh(gates[:, : self.width]) * torch.sigmoid(gates[:, self.width :]))
            kept = both[:, -self.width :]
            audio = audio + both[:, : self.width] if both.shape[1] > self.width else audio
            total = kept if total is None else total + kept
        result: Tensor = self.end(total)
        return result


class WaveGlow(nn.Module):
    """WaveGlow: twelve flows over groups of eight samples; segments of 8,000 samples."""

    def __init__(self, flows: int = 12, samples: int = 8000) -> None:
        super().__init__()
        self.samples, self.up = samples, nn.ConvTranspose1d(80, 80, 1024, 256)
        sizes = [8 - 2 * (flow // 4) for flow in range(flows)]
        self.mixers = nn.ModuleList(nn.Conv1d(n, n, 1, bias=False) for n in sizes)
        self.networks = nn.ModuleList(_WaveNet(n // 2) for n in sizes)

    def forward(self, batch: int) -> Tensor:
        """Negative log-likelihood of a batch of segments."""
        mel = self.up(torch.randn(batch, 80, self.samples // 256 + 1))[:, :, : self.samples]
        mel = (
            mel.unfold(2, 8, 8).permute(0, 2, 1, 3).contiguous().reshape(batch, self.samples // 8, -1).permute(0, 2, 1)
        )
        audio = torch.randn(batch, self.samples).unfold(1, 8, 8).permute(0, 2, 1)
        loss = torch.zeros(())
        for flow, (mixer, network) in enumerate(zip(self.mixers, self.networks, strict=True)):
            if flow and flow % 4 == 0:
                loss, audio = loss + (audio[:, :2].float() ** 2).sum(), audio[:, 2:]
            audio = mixer(audio)
            half = audio.shape[1] // 2
            scales = network(audio[:, :half], mel)
            moved = torch.exp(scales[:, half:]) * audio[:, half:] + scales[:, :half]
            loss, audio = loss - scales[:, half:].float().sum(), torch.cat([audio[:, :half], moved], 1)
        return loss + (audio.float() ** 2).sum()


class Tacotron2(nn.Module):
    """Tacotron 2: three convolutions and a two-way LSTM, a decoder of two LSTM cells a frame, a postnet of five."""

    def __init__(self, letters: int = 100, frames: int = 50) -> None:
        super().__init__()
        self.letters, self.frames, self.embedding = letters, frames, nn.Embedding(148, 512)
        self.encoder = nn.ModuleList(_batch_normalised(512, 512) for _ in range(3))
        self.recurrent = nn.LSTM(512, 256, bidirectional=True)
        self.prenet = nn.ModuleList([nn.Linear(80, 256, bias=False), nn.Linear(256, 256, bias=False)])
        self.cells = nn.ModuleList([nn.LSTMCell(768, 1024), nn.LSTMCell(1536, 1024)])
        self.query, self.memory = nn.Linear(1024, 128, bias=False), nn.Linear(512, 128, bias=False)
        self.where = nn.Conv1d(2, 32, 31, padding=15, bias=False)
        self.location, self.score = nn.Linear(32, 128, bias=False), nn.Linear(128, 1, bias=False)
        self.out, self.stop = nn.Linear(1536, 80), nn.Linear(1536, 1)
        widths = (80, 512, 512, 512, 512, 80)
        self.postnet = nn.ModuleList(_batch_normalised(a, b) for a, b in _pairs(widths))

    def forward(self, batch: int) -> Tensor:
        """Loss of a batch of sentences."""
        text = self.embedding(torch.zeros(batch, self.letters, dtype=torch.long)).transpose(1, 2)
        for layer in self.encoder:
            text = F.dropout(F.relu(layer(text)), 0.5)
        memory = _lstm(self.recurrent, text.permute(2, 0, 1)).transpose(0, 1)
        frames = torch.randn(self.frames, batch, 80)
        for dense in self.prenet:
            frames = F.dropout(F.relu(dense(frames)), 0.5)
        mel, gates = self._decoded(frames, memory)
        polished = mel
        for layer in self.postnet:
            polished = F.dropout(torch.tanh(layer(polished)), 0.5)
        return (mel.float() ** 2).mean() + ((mel + polished).float() ** 2).mean() + gates.float().mean()

    def _decoded(self, frames: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch, projected = memory.shape[0], self.memory(memory)
        hidden = [memory.new_zeros(batch, 1024) for _ in range(4)]
        shares = total = memory.new_zeros(batch, self.letters)
        seen = memory.new_zeros(batch, 512)
        mel, gates = [], []
        for frame in frames:
            hidden[0], hidden[1] = self._cell(0, torch.cat([frame, seen], 1), hidden[0], hidden[1])
            place = self.location(self.where(torch.stack([shares, total], 1)).transpose(1, 2))
            energy = self.score(torch.tanh(self.query(hidden[0]).unsqueeze(1) + place + projected)).squeeze(2)
            shares = torch.softmax(energy, 1).to(memory.dtype)
            total, seen = total + shares, torch.bmm(shares.unsqueeze(1), memory).squeeze(1)
            hidden[2], hidden[3] = self._cell(1, torch.cat([hidden[0], seen], 1), hidden[2], hidden[3])
            both = torch.cat([hidden[2], seen], 1)
            mel.append(self.out(both))
            gates.append(self.stop(both))
        return torch.stack(mel, 2), torch.stack(gates)

    def _cell(self, place: int, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        layer: Any = self.cells[place]
        gates = F.linear(inputs, layer.weight_ih, layer.bias_ih) + F.linear(hidden, layer.weight_hh, layer.bias_hh)
        hidden, cell = _gated(gates, cell)
        return F.dropout(hidden, 0.1), cell


def _batch_normalised(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inputs, outputs, 5, padding=2), nn.BatchNorm1d(outputs))
