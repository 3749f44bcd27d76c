"""From a torch module to a program: export, aliases, FLOPs, fusion.

The module is exported (:func:`torch.export.export` and its decompositions), or, for training,
traced with its gradients (:func:`make_fx`); no weight is allocated or read, so a module on the meta
device will do. Then:

* a view and its base are one buffer, since they share memory;
* an operator's FLOPs are those of torch's own registry (:mod:`torch.utils.flop_counter`); other
  operators count one for each element of their largest operand or result;
* a lookup (embedding, index, gather) reads what it returns, not the whole table;
* an elementwise operator whose result is used once is fused into the operator that uses it, unless
  that one is a contraction (matrix product, convolution); an elementwise operator is fused into the
  contraction whose result it alone uses;
* results that nothing uses are dropped.

The order of instructions is that of the graph.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_flatten, tree_map

from makespan.envs.core.errors import InstanceError, UsageError
from makespan.envs.memory.program import Program

aten = torch.ops.aten

#: Operators whose first operand is a table of which they read what they return.
LOOKUPS = (aten.embedding, aten.index, aten.gather, aten.index_select)
#: They share memory in practice, though their schema does not say so.
EXTRA_VIEWS = (aten._unsafe_view, aten._reshape_alias)
#: Elementwise, though not tagged so.
EXTRA_POINTWISE = (aten.clone, aten._to_copy, aten.full, aten.scalar_tensor, aten.arange)


@dataclass
class Operation:
    """An instruction in the making."""

    name: str
    reads: dict[int, int]  # buffer -> bytes
    writes: dict[int, int]
    flops: int
    contraction: bool
    pointwise: bool


def trace_module(
    module: nn.Module,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any] | None = None,
    *,
    training: bool = False,
    name: str | None = None,
    family: str = "",
    fuse: bool = True,
) -> Program:
    """The program of a module.

    Args:
        module: on any device; on the meta device it takes no memory.
        arguments, keywords: example inputs, tensors of the shapes to compile for, on the module's
            device.
        training: the gradients of the mean of all outputs with respect to all parameters, too.
        name: of the program; None: the class of the module.
        family: see :class:`Program`.
        fuse: whether elementwise operators are fused.

    Raises:
        InstanceError: when torch cannot export the module; says which operator or line, and what
            may help.
    """
    keywords = dict(keywords or {})
    graph, inputs, outputs = (_training_graph if training else _inference_graph)(
        module, arguments, keywords
    )
    builder = _Builder()
    for node in graph.nodes:
        builder.add(node, inputs.get(node.name))
    results = {builder.buffer_of[node] for node in outputs if node in builder.buffer_of}
    operations = _live(builder.operations, results)
    if fuse:
        operations = _fused(operations, results)
    if not operations:
        raise InstanceError(f"{type(module).__name__}: found no operator, expected at least 1")
    return _program(operations, results, builder, name or type(module).__name__.lower(), family)


def _inference_graph(
    module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[fx.Graph, dict[str, str], list[fx.Node]]:
    """The graph, names of its inputs, and the nodes that are its outputs."""
    try:
        exported = torch.export.export(module, arguments, keywords, strict=False)
        exported = exported.run_decompositions()
    except Exception as cause:  # anything that the module's code, or torch, may raise
        raise _cannot("exported", module, cause) from None
    signature = exported.graph_signature
    names = {
        spec.arg.name: spec.target or spec.arg.name
        for spec in signature.input_specs
        if hasattr(spec.arg, "name")
    }
    graph = exported.graph_module.graph
    return graph, names, _outputs(graph)


def _training_graph(
    module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[fx.Graph, dict[str, str], list[fx.Node]]:
    """The same with gradients."""
    from torch._decomp import core_aten_decompositions
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.func import functional_call
    from torch.fx.experimental.proxy_tensor import make_fx

    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    fixed: dict[str, Tensor] = {n: p for n, p in module.named_parameters() if not p.requires_grad}
    fixed.update(module.named_buffers())
    if not parameters:
        raise InstanceError(f"{type(module).__name__}: found no parameter to train")

    def step(parameters: Any, fixed: Any, arguments: Any, keywords: Any) -> Any:
        result = functional_call(module, {**parameters, **fixed}, arguments, keywords)
        outputs = [o for o in tree_flatten(result)[0] if isinstance(o, Tensor)]
        loss = sum((o.float().mean() for o in outputs if o.is_floating_point()), torch.zeros(()))
        return loss, torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)

    values = (parameters, fixed, arguments, keywords)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            fake = tree_map(lambda x: _fake(mode, x), values)
            table: Any = core_aten_decompositions()
            traced = make_fx(step, decomposition_table=table, _allow_non_fake_inputs=True)(*fake)
    except Exception as cause:
        raise _cannot("traced with its gradients", module, cause) from None
    leaves = [*parameters, *fixed]
    placeholders = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    names = dict(zip(placeholders, leaves, strict=False))
    return traced.graph, names, _outputs(traced.graph)


def _fake(mode: Any, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    fake = mode.from_tensor(value.detach())
    return fake.requires_grad_(value.requires_grad)


def _cannot(what: str, module: nn.Module, cause: Exception) -> InstanceError:
    """The first lines of torch's message, which name the operator or line, and what may help."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    reason = "; ".join(lines[:3]) or type(cause).__name__
    if len(reason) > 400:
        reason = reason[:400] + " ..."
    return InstanceError(
        f"{type(module).__name__} cannot be {what}: {type(cause).__name__}: {reason}. Try "
        "example inputs of other shapes; replace what depends on the values of tensors (if, "
        "item(), nonzero()) and operators of other libraries by plain torch; "
        "torch.export.export(module, arguments) by itself shows the whole story"
    )


def _outputs(graph: fx.Graph) -> list[fx.Node]:
    (node,) = (node for node in graph.nodes if node.op == "output")
    return [leaf for leaf in tree_flatten(node.args)[0] if isinstance(leaf, fx.Node)]


class _Builder:
    """Walks the graph: which buffer each value lies in, and what each operator does."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.names: list[str] = []
        self.buffer_of: dict[fx.Node, int] = {}
        self.members: dict[fx.Node, list[int | None]] = {}  # buffers of a tuple of tensors
        self.operations: list[Operation] = []

    def add(self, node: fx.Node, name: str | None) -> None:
        """One node of the graph; ``name`` of an input."""
        value = node.meta.get("val", node.meta.get("tensor_meta"))
        if node.op in ("placeholder", "get_attr"):
            if isinstance(value, Tensor):
                self.buffer_of[node] = self._buffer(name or node.name, value)
        elif node.op == "call_function" and node.target is operator.getitem:
            self._take_member(node)
        elif node.op == "call_function":
            if isinstance(node.target, torch._ops.OpOverload):
                self._call(node, node.target, value)
            elif isinstance(value, Tensor):
                raise InstanceError(
                    f"operator {node.target} has no schema: replace it by plain torch operators"
                )

    def _take_member(self, node: fx.Node) -> None:
        source, index = node.args
        assert isinstance(source, fx.Node)
        if source in self.members:
            member = self.members[source][index]  # type: ignore[index]
            if member is not None:
                self.buffer_of[node] = member
        elif source in self.buffer_of:  # a piece of a view such as split
            self.buffer_of[node] = self.buffer_of[source]

    def _call(self, node: fx.Node, target: Any, value: Any) -> None:
        operands = list(node.all_input_nodes)
        if _is_view(target) and operands and operands[0] in self.buffer_of:
            self.buffer_of[node] = self.buffer_of[operands[0]]
            return
        results = value if isinstance(value, tuple | list) else (value,)
        packet = target._overloadpacket
        reads: dict[int, int] = {}
        for operand in operands:
            buffer = self.buffer_of.get(operand)
            if buffer is not None:
                count = min(_bytes(operand.meta["val"]), self.sizes[buffer])
                reads[buffer] = max(reads.get(buffer, 0), count)
        if packet in LOOKUPS and operands and operands[0] in self.buffer_of:
            table = self.buffer_of[operands[0]]
            reads[table] = min(reads[table], sum(map(_bytes, results)))
        writes: dict[int, int] = {}
        made: list[int | None] = []
        for number, result in enumerate(results):
            buffer = None
            if isinstance(result, Tensor) and result.numel():
                suffix = f".{number}" if len(results) > 1 else ""
                buffer = self._written(node, target, number)
                if buffer is None:
                    buffer = self._buffer(node.name + suffix, result)
                writes[buffer] = self.sizes[buffer]
            made.append(buffer)
        if not writes:
            return
        if isinstance(value, tuple | list):
            self.members[node] = made
        else:
            assert made[0] is not None
            self.buffer_of[node] = made[0]
        contraction = packet in _flop_registry()
        self.operations.append(
            Operation(
                name=node.name,
                reads=reads,
                writes=writes,
                flops=_flops(node, packet, results),
                contraction=contraction,
                pointwise=torch.Tag.pointwise in target.tags or packet in EXTRA_POINTWISE,
            )
        )

    def _written(self, node: fx.Node, target: Any, number: int) -> int | None:
        """The buffer that an in-place operator changes, or None."""
        returned = target._schema.returns[number].alias_info if target._schema.returns else None
        if returned is None or not returned.is_write:
            return None
        for argument, value in zip(target._schema.arguments, node.args, strict=False):
            alias = argument.alias_info
            if alias and alias.is_write and alias.before_set & returned.before_set:
                return self.buffer_of.get(value) if isinstance(value, fx.Node) else None
        return None

    def _buffer(self, name: str, value: Tensor) -> int:
        self.sizes.append(max(_bytes(value), 1))
        self.names.append(name)
        return len(self.sizes) - 1


def _is_view(target: Any) -> bool:
    """Whether the result shares the memory of the first operand, unchanged."""
    aliases = [r.alias_info for r in target._schema.returns]
    shares = any(alias is not None and not alias.is_write for alias in aliases)
    return shares or target._overloadpacket in EXTRA_VIEWS


def _bytes(value: Any) -> int:
    return int(value.numel()) * value.element_size() if isinstance(value, Tensor) else 0


def _flop_registry() -> Mapping[Any, Callable[..., int]]:
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def _flops(node: fx.Node, packet: Any, results: Any) -> int:
    values = tree_map(
        lambda x: x.meta.get("val") if isinstance(x, fx.Node) else x, (node.args, node.kwargs)
    )
    if packet in _flop_registry():
        out = results if len(results) > 1 else results[0]
        return int(_flop_registry()[packet](*values[0], **values[1], out_val=out))
    tensors = [v for v in (*tree_flatten(values)[0], *results) if isinstance(v, Tensor)]
    return max((int(v.numel()) for v in tensors), default=0)


def _live(operations: list[Operation], results: set[int]) -> list[Operation]:
    """Without operations that nothing needs."""
    needed, kept = set(results), []
    for operation in reversed(operations):
        if needed & operation.writes.keys():
            needed |= operation.reads.keys()
            kept.append(operation)
    return kept[::-1]


def _fused(operations: list[Operation], results: set[int]) -> list[Operation]:
    """Elementwise operations merged with the neighbour that alone shares their tensor."""
    users: dict[int, list[int]] = {}
    writers: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        for buffer in operation.reads:
            users.setdefault(buffer, []).append(index)
        for buffer in operation.writes:
            writers.setdefault(buffer, []).append(index)
    rewritten = {buffer for buffer, indices in writers.items() if len(indices) > 1}
    merged: list[Operation | None] = list(operations)
    for index, producer in enumerate(operations):
        if len(producer.writes) != 1:
            continue
        (buffer,) = producer.writes
        uses = users.get(buffer, [])
        frozen = rewritten & (producer.reads.keys() | {buffer})
        if len(uses) != 1 or buffer in results or frozen:
            continue
        consumer = merged[uses[0]]
        current = merged[index]
        if consumer is None or current is None or uses[0] == index:
            continue
        into_consumer = current.pointwise and not consumer.contraction
        epilogue = current.contraction and consumer.pointwise and not consumer.contraction
        if not (into_consumer or epilogue):
            continue
        reads = {**current.reads}
        for other, count in consumer.reads.items():
            if other != buffer:
                reads[other] = max(reads.get(other, 0), count)
        for other in current.reads:
            users[other] = list(dict.fromkeys(uses[0] if u == index else u for u in users[other]))
        merged[index] = None
        merged[uses[0]] = Operation(
            name=consumer.name,
            reads=reads,
            writes=consumer.writes,
            flops=current.flops + consumer.flops,
            contraction=current.contraction or consumer.contraction,
            pointwise=consumer.pointwise,
        )
    return [operation for operation in merged if operation is not None]


def _program(
    operations: list[Operation], results: set[int], builder: _Builder, name: str, family: str
) -> Program:
    used = sorted({b for op in operations for b in (*op.reads, *op.writes)})
    number = {buffer: index for index, buffer in enumerate(used)}
    accesses = [
        (number[buffer], write, count)
        for op in operations
        for write, table in ((False, op.reads), (True, op.writes))
        for buffer, count in table.items()
    ]
    buffers, writes, counts = zip(*accesses, strict=True)
    lengths = [len(op.reads) + len(op.writes) for op in operations]
    return Program(
        name=name,
        family=family,
        sizes=np.array([builder.sizes[b] for b in used], dtype=np.int64),
        outputs=np.array([b in results for b in used]),
        access_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        buffers=np.array(buffers, dtype=np.int32),
        writes=np.array(writes),
        access_bytes=np.array(counts, dtype=np.int64),
        flops=np.array([op.flops for op in operations], dtype=np.int64),
        instruction_names=tuple(op.name for op in operations),
        buffer_names=tuple(builder.names[b] for b in used),
    )


def load_factory(target: str, option: str = "--module") -> tuple[nn.Module, tuple[Any, ...]]:
    """What a factory named ``package.module:function`` makes: a module and its example inputs.

    It is called with the meta device as default, so that no weight is allocated, from the working
    directory.

    Args:
        target: names it.
        option: of the command line, for messages.

    Raises:
        UsageError: when it cannot be imported or called, or returns something else.
    """
    import importlib
    import sys

    path, _, function = target.partition(":")
    if not path or not function:
        raise UsageError(f"{option}: found {target!r}, expected package.module:factory")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        factory = getattr(importlib.import_module(path), function)
    except Exception as cause:
        raise UsageError(f"{option} {target}: {type(cause).__name__}: {cause}") from None
    try:
        with torch.device("meta"):
            made = factory()
    except Exception as cause:
        raise UsageError(
            f"{option} {target}: the factory failed on the meta device: {type(cause).__name__}: "
            f"{cause}. It must not look at the values of tensors"
        ) from None
    module, arguments = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if isinstance(arguments, Tensor):
        arguments = (arguments,)
    if not isinstance(module, nn.Module) or not isinstance(arguments, tuple | list):
        raise UsageError(
            f"{option} {target}: found {type(made).__name__}, expected the factory to return a "
            "torch.nn.Module and a tuple of example inputs"
        )
    return module, tuple(arguments)
