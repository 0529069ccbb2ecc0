"""Several ONNX files as one that computes only once what they have in common."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

EXPERIMENT = "experiment"
STRIDE, RADIUS = "stride", "receptive_radius"
"""Numbers that each file must say of itself."""


def merge_graphs(files: Sequence[Path]) -> tuple[bytes, list[list[str]]]:
    """Merge ONNX files of `retinex.training.onnx_export`.

    Nodes of equal operator, attributes and inputs become one, as do equal weights: of experiments
    with one Decom-Net between them, everything up to R and I. Metadata is the first file's, except
    that `experiment` names all, and `receptive_radius` is that of the file that sees furthest.

    Returns:
        the merged file, which takes the inputs of the first one; and, of each file, what its
        outputs are called there: an output that files have in common has one name.

    Raises:
        ValueError: the files differ in inputs, operator sets or stride, or have optional inputs;
            or one isn't an ONNX file of ours.
    """
    models = [_load(file) for file in files]
    contract = _contract(models[0])
    if any(_contract(model) != contract or _has_optional_inputs(model) for model in models):
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{names} can't be merged: run them one by one")
    merged = onnx.ModelProto()
    merged.CopyFrom(models[0])
    for part in ("node", "initializer", "output", "value_info"):
        merged.graph.ClearField(part)
    known: dict[bytes, list[str]] = {}
    outputs = [_add_graph(merged.graph, model.graph, known) for model in models]
    facts = [_facts(model) for model in models]
    common = {
        EXPERIMENT: ", ".join(fact.get(EXPERIMENT, "") for fact in facts),
        RADIUS: max((fact[RADIUS] for fact in facts), key=int),
    }
    onnx.helper.set_model_props(merged, facts[0] | common)
    return merged.SerializeToString(), outputs


def _load(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(file)
    except DecodeError as error:
        raise ValueError(
            f"{file} isn't an ONNX file ({error}); make or download it anew"
        ) from error
    facts = _facts(model)
    if not model.graph.node or not all(facts.get(key, "").isdecimal() for key in (STRIDE, RADIUS)):
        raise ValueError(f"{file} isn't one of export_onnx.py; make or download it anew")
    return model


def _facts(model: onnx.ModelProto) -> dict[str, str]:
    """Read what a file says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _add_graph(
    merged: onnx.GraphProto, graph: onnx.GraphProto, known: dict[bytes, list[str]]
) -> list[str]:
    """Add to `merged` what of `graph` isn't in it yet; return what its outputs are called there.

    Args:
        known: what `merged` holds: names of a weight or of a node's results, by everything else
            about it. What is added is added here as well.
    """
    new_names = {"": ""} | {value.name: value.name for value in graph.input}
    for weight in graph.initializer:
        anonymous = onnx.TensorProto()
        anonymous.CopyFrom(weight)
        anonymous.ClearField("name")
        content = anonymous.SerializeToString(deterministic=True)
        if content not in known:
            known[content] = [f"value_{len(known)}"]
            merged.initializer.add().CopyFrom(anonymous)
            merged.initializer[-1].name = known[content][0]
        new_names[weight.name] = known[content][0]
    for node in graph.node:
        anonymous_node = onnx.NodeProto()
        anonymous_node.CopyFrom(node)
        for field in ("name", "output"):
            anonymous_node.ClearField(field)
        anonymous_node.input[:] = [new_names[name] for name in node.input]
        content = anonymous_node.SerializeToString(deterministic=True)
        if content not in known:
            known[content] = [f"value_{len(known)}_{k}" for k in range(len(node.output))]
            merged.node.add().CopyFrom(anonymous_node)
            merged.node[-1].output[:] = known[content]
        new_names |= dict(zip(node.output, known[content], strict=True))
    outputs = [new_names[value.name] for value in graph.output]
    present = {value.name for value in merged.output}
    for value, name in zip(graph.output, outputs, strict=True):
        if name not in present:
            merged.output.add().CopyFrom(value)
            merged.output[-1].name = name
    return outputs


def _contract(model: onnx.ModelProto) -> list[bytes | str]:
    """Say what files must have in common to be merged."""
    parts = (*model.graph.input, *model.opset_import)
    return [*(part.SerializeToString(deterministic=True) for part in parts), _facts(model)[STRIDE]]


def _has_optional_inputs(model: onnx.ModelProto) -> bool:
    defaults = {weight.name for weight in model.graph.initializer}
    return any(value.name in defaults for value in model.graph.input)
