"""Programs from torch modules: FLOPs, aliases, fusion, gradients, and what cannot be traced."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from makespan.envs.core.errors import InstanceError, UsageError
from makespan.envs.memory.family import make_family
from makespan.envs.memory.trace import load_factory, trace_module
from makespan.envs.memory.zoo import MODELS


class Head(nn.Module):
    """A linear layer, views of its result, and elementwise operators."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 6)

    def forward(self, x):
        y = self.linear(x).view(-1, 2, 3).transpose(1, 2)
        return torch.relu(y * 2 + 1)


def meta(module, *shape):
    with torch.device("meta"):
        return module(), (torch.zeros(*shape),)


def test_the_first_convolution_of_resnet18_has_236027904_flops():
    with torch.device("meta"):
        module = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        image = torch.zeros(1, 3, 224, 224)
    program = trace_module(module, (image,))
    assert program.flops.tolist() == [236_027_904] == [2 * 64 * 112**2 * 3 * 7 * 7]
    assert program.sizes.tolist() == [4 * 64 * 3 * 49, 4 * 3 * 224**2, 4 * 64 * 112**2]


def test_views_are_no_buffers_and_elementwise_operators_are_fused():
    module, inputs = meta(Head, 5, 8)
    program = trace_module(module, inputs, name="head", family="small")
    # the matrix product with everything elementwise after it: one instruction
    assert program.num_instructions == 1
    names = {program.buffer_names[k] for k in program.buffers[~program.writes]}
    assert names == {"linear.weight", "linear.bias", "x"}
    assert program.outputs[program.buffers[program.writes]].all()
    assert program.sizes[program.buffers[program.writes]].tolist() == [4 * 5 * 6]
    apart = trace_module(module, inputs, fuse=False)
    assert apart.num_instructions == 4  # addmm, mul, add, relu; view and transpose are none
    assert apart.flops.sum() == program.flops.sum() == 2 * 5 * 8 * 6 + 3 * 30


def test_an_input_that_is_used_twice_is_read_twice():
    class Twice(nn.Module):
        def forward(self, x):
            return functional.softmax(x, dim=1) @ x

    program = trace_module(*meta(Twice, 4, 4))
    x = program.buffer_names.index("x")
    assert (program.buffers == x).sum() == 2
    assert (np.diff(program.instructions[program.buffers == x]) > 0).all()


def test_a_lookup_reads_what_it_returns():
    with torch.device("meta"):
        module, tokens = nn.Embedding(1000, 16), torch.zeros(7, dtype=torch.int64)
    program = trace_module(module, (tokens,))
    table = program.buffer_names.index("weight")
    assert program.sizes[table] == 4 * 16000
    assert program.access_bytes[program.buffers == table].tolist() == [4 * 7 * 16]


def test_a_training_graph_has_gradients_and_long_live_ranges():
    module, inputs = meta(Head, 5, 8)
    forward, training = trace_module(module, inputs), trace_module(module, inputs, training=True)
    assert training.num_instructions > forward.num_instructions
    gradients = training.sizes[training.outputs].tolist()
    assert {4 * 8 * 6, 4 * 6} <= set(gradients)
    x = training.buffer_names.index(next(n for n in training.buffer_names if n.startswith("arg")))
    times = training.instructions[training.buffers == x]
    assert times[-1] - times[0] >= 2  # saved for the backward pass


def test_real_weights_are_left_alone():
    module = Head()
    before = module.linear.weight.clone()
    trace_module(module, (torch.zeros(5, 8),))
    assert module.linear.weight.device.type == "cpu"
    torch.testing.assert_close(module.linear.weight, before)


def test_a_24_layer_transformer_takes_no_memory_for_its_weights():
    module, _ = MODELS["gpt-medium"].build()
    assert sum(p.numel() for p in module.parameters()) > 300e6
    assert all(p.device.type == "meta" for p in module.parameters())


@pytest.mark.parametrize("name", ["gpt-tiny", "switch", "lstm", "unet", "mixer-small"])
def test_models_of_the_zoo_compute_what_they_should(name):
    """On the meta device: shapes only."""
    model = MODELS[name]
    module, inputs = model.build()
    output = module(*inputs)
    assert output.shape[0] == model.inputs[0]
    assert output.dtype == torch.bfloat16


def test_what_depends_on_values_cannot_be_exported():
    class Branch(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(
        InstanceError, match=r"Branch cannot be exported: .*replace what depends on"
    ):
        trace_module(*meta(Branch, 3))


def test_wrong_factories_are_refused(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        "import torch\n"
        "def good():\n    return torch.nn.Linear(3, 2), (torch.zeros(4, 3),)\n"
        "def bad():\n    return 3\n"
        "def looks():\n    return torch.zeros(3).tolist()\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module, inputs = load_factory("own_models:good")
    assert module.weight.device.type == "meta"
    assert trace_module(module, inputs).num_instructions == 1
    for target, message in [
        ("own_models", "expected package.module:factory"),
        ("own_models:none", "has no attribute 'none'"),
        ("nowhere:make", "No module named 'nowhere'"),
        ("own_models:bad", "found int, expected the factory to return"),
        ("own_models:looks", "the factory failed on the meta device"),
    ]:
        with pytest.raises(UsageError, match=f"^--module.*{message}"):
            load_factory(target)
        with pytest.raises(UsageError, match=f"^--training-module.*{message}"):
            make_family().sources["training_module"].read(target)


@pytest.mark.parametrize(
    ("suffix", "capacities"),
    [("", [8, 17, 35, 70]), ("@edge-npu", [4 * 2**20]), ("@edge-npu-50", [88])],
)
def test_the_capacity_for_an_own_module(tmp_path, monkeypatch, suffix, capacities):
    (tmp_path / "sized_models.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Linear(4, 4), (torch.zeros(3, 4),)\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    loaded = make_family().sources["module"].read(f"sized_models:make{suffix}")
    assert [instance.capacity for instance in loaded] == capacities
