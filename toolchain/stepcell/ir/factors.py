"""Recurrent matrices in factors, R = B A: the layer reads A h, and B is its matrix (`recurrent_input`)."""

from dataclasses import replace

from stepcell.ir.graph import factor_of, reads
from stepcell.ir.model import FloatArray, Function, Model, Stage
from stepcell.ir.ops import Dense, Op, Recurrent
from stepcell.ir.verify import verify


def factors_of(stage: Stage) -> dict[str, Dense]:
    """By the result of a layer: the Dense of h that its recurrent matrix reads; other layers are left out."""
    layers = (op for op in stage.ops if isinstance(op, Recurrent))
    found = ((op.h_next.name, factor_of(op, stage.ops)) for op in layers)
    return {name: factor for name, factor in found if factor is not None}


def multiplied_out(model: Model) -> Model:
    """The same network with B A, and its bias, in place of the factors; in float it differs by rounding."""
    if not any(factors_of(stage) for f in model.functions for stage in f.stages):
        return model
    weights = dict(model.weights)
    functions = tuple(_function(model, function, weights) for function in model.functions)
    return verify(replace(model, functions=functions, weights=weights, quantized={}))


def _function(model: Model, function: Function, weights: dict[str, FloatArray]) -> Function:
    return replace(function, stages=tuple(_stage(model, function, s, weights) for s in function.stages))


def _stage(model: Model, function: Function, stage: Stage, weights: dict[str, FloatArray]) -> Stage:
    factors = factors_of(stage)
    ops = tuple(_whole(model, op, factors, weights) for op in stage.ops)
    read = {name for op in ops for name in reads(op)} | {value for _, value in stage.updates}
    kept = read | {*stage.outputs, *function.outputs}
    idle = [factor for factor in factors.values() if factor.y.name not in kept]
    return replace(stage, ops=tuple(op for op in ops if op not in idle))


def _whole(model: Model, op: Op, factors: dict[str, Dense], weights: dict[str, FloatArray]) -> Op:
    """The layer with one recurrent matrix; `weights` grows by it and by its bias."""
    if not isinstance(op, Recurrent) or op.recurrent_input is None:
        return op
    a, b = factors[op.h_next.name], model.weights[op.recurrent_weights]
    matrix, bias = f"{op.h_next.name}_recurrent", f"{op.h_next.name}_recurrent_bias"
    weights[matrix] = b @ model.weights[a.weights]
    weights[bias] = model.weights[op.recurrent_bias] + b @ model.weights[a.bias]
    return replace(op, recurrent_weights=matrix, recurrent_bias=bias, recurrent_input=None)
