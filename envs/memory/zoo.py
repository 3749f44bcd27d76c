"""Models in plain torch, from which the pre-traced programs are made.

Small definitions of well-known architectures, written here. Nothing is trained; only shapes matter.
``python -m makespan.envs.memory.zoo`` traces them all again. Sources of the architectures: residual
networks (He et al. 2016), VGG (Simonyan and Zisserman 2015), transformer encoder (Devlin et al.
2019) and decoder (Radford et al. 2019), vision transformer (Dosovitskiy et al. 2021), MLP-Mixer
(Tolstikhin et al. 2021), U-Net (Ronneberger et al. 2015), switch mixture of experts (Fedus et al.
2022), LSTM (Hochreiter and Schmidhuber 1997).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

DTYPE = torch.bfloat16


class Attention(nn.Module):
    """Multi-head self-attention, written out."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        batch, tokens, width = x.shape
        parts = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        if self.causal:
            mask = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(mask, -1e4)
        mixed = scores.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]


def mlp(width: int, hidden: int) -> nn.Sequential:
    """The position-wise network of a transformer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, causal: bool, feed_forward: nn.Module) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = Attention(width, heads, causal)
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = x + self.attention(self.norms[0](x))
        return x + self.feed_forward(self.norms[1](x))  # type: ignore[no-any-return]


class Experts(nn.Module):
    """A switch layer: every token goes to its best expert, each with room for so many."""

    def __init__(self, width: int, experts: int, room: int) -> None:
        super().__init__()
        self.room = room
        self.router = nn.Linear(width, experts)
        self.up = nn.Parameter(torch.randn(experts, width, 4 * width))
        self.down = nn.Parameter(torch.randn(experts, 4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        flat = x.flatten(0, 1)
        gate, expert = self.router(flat).softmax(dim=-1).max(dim=-1)
        chosen = functional.one_hot(expert, self.up.shape[0]).to(x.dtype)  # (tokens, experts)
        place = (chosen.cumsum(dim=0) * chosen).sum(dim=-1).long() - 1
        slot = functional.one_hot(place.clamp(0, self.room - 1), self.room).to(x.dtype)
        send = torch.einsum("te,tr->ter", chosen, slot)
        inputs = torch.einsum("ter,td->erd", send, flat)
        hidden = functional.relu(torch.bmm(inputs, self.up))
        results = torch.einsum("ter,erd->td", send, torch.bmm(hidden, self.down))
        return (results * gate[:, None]).view_as(x)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Tokens to logits."""

    def __init__(
        self, layers: int, width: int, heads: int, vocabulary: int, tokens: int, causal: bool,
        experts: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(tokens, width))
        self.blocks = nn.Sequential()
        for layer in range(layers):
            inner: nn.Module = mlp(width, 4 * width)
            if experts and layer % 2:
                inner = Experts(width, experts, 2 * tokens // experts)
            self.blocks.append(Block(width, heads, causal, inner))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens) to (batch, tokens, vocabulary)."""
        x = self.embedding(tokens) + self.positions
        return self.head(self.norm(self.blocks(x)))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Image to classes."""

    def __init__(self, layers: int, width: int, heads: int, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(
            *(Block(width, heads, False, mlp(width, 4 * width)) for _ in range(layers))
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1000))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, 1000)."""
        x = self.patches(image).flatten(2).transpose(1, 2)
        return self.head(self.blocks(x).mean(dim=1))  # type: ignore[no-any-return]


class Mixer(nn.Module):
    """MLP-Mixer: image to classes."""

    def __init__(self, layers: int, width: int, tokens: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.over_tokens = nn.ModuleList(mlp(tokens, width // 2) for _ in range(layers))
        self.over_channels = nn.ModuleList(mlp(width, 4 * width) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1000))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, 1000)."""
        x = self.patches(image).flatten(2).transpose(1, 2)
        for layer, (tokens, channels) in enumerate(
            zip(self.over_tokens, self.over_channels, strict=True)
        ):
            x = x + tokens(self.norms[2 * layer](x).transpose(1, 2)).transpose(1, 2)
            x = x + channels(self.norms[2 * layer + 1](x))
        return self.head(x.mean(dim=1))  # type: ignore[no-any-return]


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Residual(nn.Module):
    """A residual block, basic (two 3x3) or bottleneck."""

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        inner = outputs // 4 if bottleneck else outputs
        layers = [convolution(inputs, inner, 3, stride), nn.ReLU(), convolution(inner, outputs)]
        if bottleneck:
            layers = [
                convolution(inputs, inner, 1), nn.ReLU(), convolution(inner, inner, 3, stride),
                nn.ReLU(), convolution(inner, outputs, 1),
            ]  # fmt: skip
        self.body = nn.Sequential(*layers)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width)."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> nn.Sequential:
    """ResNet for 224 x 224 images."""
    layers: list[nn.Module] = [convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage, count in enumerate(blocks):
        outputs = 64 * 2**stage * (4 if bottleneck else 1)
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers.append(Residual(width, outputs, stride, bottleneck))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


def vgg(stages: tuple[tuple[int, int], ...]) -> nn.Sequential:
    """VGG; stages are (convolutions, channels)."""
    layers: list[nn.Module] = []
    width = 3
    for count, channels in stages:
        for _ in range(count):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            width = channels
        layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(49 * width, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(4096, 1000))


class UNet(nn.Module):
    """U-Net with ``depth`` levels."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.down = nn.ModuleList(
            _twice(3 if level == 0 else widths[level - 1], widths[level]) for level in range(depth)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2) for level in range(depth - 1)
        )
        self.merge = nn.ModuleList(
            _twice(2 * widths[level], widths[level]) for level in range(depth - 1)
        )
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) to (batch, 2, height, width)."""
        skips = []
        for level, layer in enumerate(self.down):
            x = layer(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in range(len(self.up) - 1, -1, -1):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        convolution(inputs, outputs), nn.ReLU(), convolution(outputs, outputs), nn.ReLU()
    )


class LSTM(nn.Module):
    """Layers of LSTM cells, unrolled over the sequence."""

    def __init__(self, layers: int, width: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.gates = nn.ModuleList(nn.Linear(2 * width, 4 * width) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) to (batch, vocabulary), after the last token."""
        inputs = self.embedding(tokens)
        state = [
            (torch.zeros_like(inputs[:, 0]), torch.zeros_like(inputs[:, 0])) for _ in self.gates
        ]
        x = inputs[:, 0]
        for step in range(tokens.shape[1]):
            x = inputs[:, step]
            for layer, gate in enumerate(self.gates):
                hidden, cell = state[layer]
                forget, enter, emit, new = gate(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
                cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
                x = torch.sigmoid(emit) * torch.tanh(cell)
                state[layer] = (x, cell)
        return self.head(x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Model:
    """One entry of the zoo.

    Attributes:
        family: of the architecture, see :data:`makespan.envs.memory.suites.FAMILIES`.
        make: the module.
        inputs: shape of the input.
        tokens: whether the input is of whole numbers.
        training: whether the program computes gradients.
    """

    family: str
    make: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    tokens: bool = False
    training: bool = False

    def build(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """The module and its input on the meta device: nothing is allocated."""
        with torch.device("meta"):
            module = self.make().to(DTYPE).train(self.training)
            if self.tokens:
                return module, (torch.zeros(self.inputs, dtype=torch.int64),)
            return module, (torch.zeros(self.inputs, dtype=DTYPE),)


def _image(batch: int, side: int = 224) -> tuple[int, ...]:
    return (batch, 3, side, side)


def gpt(layers: int, width: int, tokens: int, vocabulary: int = 32000) -> nn.Module:
    """A decoder-only transformer."""
    return Transformer(layers, width, width // 64, vocabulary, tokens, causal=True)


def bert(layers: int, width: int, tokens: int) -> nn.Module:
    """An encoder-only transformer."""
    return Transformer(layers, width, width // 64, 30000, tokens, causal=False)


def switch(layers: int, width: int, tokens: int, experts: int) -> nn.Module:
    """A decoder whose every other block has experts."""
    return Transformer(layers, width, width // 64, 32000, tokens, causal=True, experts=experts)


_RESNET18, _RESNET50 = ((2, 2, 2, 2), False), ((3, 4, 6, 3), True)
_VGG11 = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

#: The zoo by name.
MODELS: dict[str, Model] = {
    "resnet18": Model("resnet", lambda: resnet(*_RESNET18), _image(1)),
    "resnet18-train": Model("resnet", lambda: resnet(*_RESNET18), _image(32), training=True),
    "resnet50": Model("resnet", lambda: resnet(*_RESNET50), _image(8)),
    "resnet50-train": Model("resnet", lambda: resnet(*_RESNET50), _image(16), training=True),
    "bert-small": Model("encoder", lambda: bert(4, 512, 128), (8, 128), tokens=True),
    "bert-base": Model("encoder", lambda: bert(12, 768, 384), (1, 384), tokens=True),
    "bert-small-train": Model(
        "encoder", lambda: bert(4, 512, 128), (8, 128), tokens=True, training=True
    ),
    "mixer-small": Model("mixer", lambda: Mixer(8, 512, 196, 16), _image(8)),
    "mixer-small-train": Model("mixer", lambda: Mixer(8, 512, 196, 16), _image(8), training=True),
    "vit-small": Model("vit", lambda: VisionTransformer(12, 384, 6), _image(8)),
    "vit-small-train": Model("vit", lambda: VisionTransformer(6, 384, 6), _image(8), training=True),
    "vgg16": Model("vgg", lambda: vgg(_VGG16), _image(1)),
    "vgg11-train": Model("vgg", lambda: vgg(_VGG11), _image(8), training=True),
    "gpt-tiny": Model("decoder", lambda: gpt(4, 256, 256, 8000), (4, 256), tokens=True),
    "gpt-small": Model("decoder", lambda: gpt(12, 768, 512), (1, 512), tokens=True),
    "gpt-medium": Model("decoder", lambda: gpt(24, 1024, 512), (1, 512), tokens=True),
    "gpt-tiny-train": Model(
        "decoder", lambda: gpt(4, 256, 256, 8000), (8, 256), tokens=True, training=True
    ),
    "gpt-small-train": Model(
        "decoder", lambda: gpt(12, 768, 256), (2, 256), tokens=True, training=True
    ),
    "unet": Model("unet", lambda: UNet(5, 64), _image(1, 256)),
    "unet-train": Model("unet", lambda: UNet(4, 32), _image(4, 256), training=True),
    "switch": Model("moe", lambda: switch(6, 512, 256, 8), (1, 256), tokens=True),
    "switch-train": Model(
        "moe", lambda: switch(4, 256, 256, 8), (1, 256), tokens=True, training=True
    ),
    "lstm": Model("lstm", lambda: LSTM(2, 1024, 16000), (32, 24), tokens=True),
    "lstm-train": Model("lstm", lambda: LSTM(2, 512, 8000), (32, 12), tokens=True, training=True),
}


def trace_all(folder: Path) -> None:
    """Write the program of every model into ``folder``."""
    from makespan.envs.core.files import write_atomically
    from makespan.envs.memory.trace import trace_module

    for name, model in MODELS.items():
        module, inputs = model.build()
        program = trace_module(
            module, inputs, training=model.training, name=name, family=model.family
        )
        write_atomically(folder / f"{name}.json", program.to_json() + "\n")
        print(f"{name}: {program.num_instructions} instructions, {program.num_accesses} accesses")


if __name__ == "__main__":
    trace_all(Path(__file__).parent / "programs")
