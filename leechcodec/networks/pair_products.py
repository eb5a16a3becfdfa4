"""The innermost loop of the integer prior in LLVM's vectors (integer_prior_kernels.py). Imported to compile it.

On x86 a product of pairs becomes one instruction (vpmaddwd, or vpdpwssd with VNNI); on any other machine the same
integers.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from leechcodec.networks.integer_prior_kernels import LANES, POSITIONS

_VECTOR = 8
_VECTORS = LANES // _VECTOR
_SHORT, _WORD, _LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_SHORTS, _WORDS = ir.VectorType(_SHORT, 2 * _VECTOR), ir.VectorType(_WORD, _VECTOR)
_WIDES = ir.VectorType(_WORD, 2 * _VECTOR)


@intrinsic
def multiply(typingctx: Any, sums, x, first, step, weights, at, pairs):
    """sums[p, o] += sum over k of x[first + p·step + k] · w[k, o], in int32: the innermost loop, in vectors."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        def data(number: int) -> Any:
            return context.make_array(signature.args[number])(context, builder, arguments[number]).data

        builder.function.attributes.add("noinline")  # one copy of the loop in each entry compiles in half the time
        target, source, matrix = data(0), data(1), data(4)
        first_, step_, at_, pairs_ = (arguments[n] for n in (2, 3, 5, 6))
        places = [
            builder.gep(target, [ir.Constant(_LONG, (p * _VECTORS + v) * _VECTOR)])
            for p in range(POSITIONS)
            for v in range(_VECTORS)
        ]
        before = [_load(builder, place, _WORDS, 4) for place in places]
        rows = [
            builder.gep(source, [builder.add(first_, builder.mul(step_, ir.Constant(_LONG, p)))])
            for p in range(POSITIONS)
        ]
        after = _loop(builder, rows, builder.gep(matrix, [at_]), pairs_, before)
        for place, value in zip(places, after, strict=True):
            builder.store(value, builder.bitcast(place, _WORDS.as_pointer()), align=4)
        return context.get_dummy_value()

    arrays = types.Array(types.int16, 1, "C")
    return types.void(
        types.Array(types.int32, 1, "C"), arrays, types.intp, types.intp, arrays, types.intp, types.intp
    ), generate


def _loop(builder: ir.IRBuilder, rows: list[Any], panel: Any, pairs: Any, before: list[Any]) -> list[Any]:
    """The loop over pairs of inputs, from the sums before it to those after it."""
    entry, loop, done = builder.block, builder.append_basic_block("pairs"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_LONG)
    k.add_incoming(ir.Constant(_LONG, 0), entry)
    sums = [builder.phi(_WORDS) for _ in before]
    for phi, value in zip(sums, before, strict=True):
        phi.add_incoming(value, entry)
    panel_k = builder.gep(panel, [builder.mul(k, ir.Constant(_LONG, 2 * LANES))])
    places = [builder.gep(panel_k, [ir.Constant(_LONG, 2 * _VECTOR * v)]) for v in range(_VECTORS)]
    w, after = [_load(builder, place, _SHORTS, 2) for place in places], []
    undefined, all_first = ir.Constant(_WORDS, ir.Undefined), ir.Constant(_WORDS, [0] * _VECTOR)
    for p in range(POSITIONS):
        pair = _load(builder, builder.gep(rows[p], [builder.mul(k, ir.Constant(_LONG, 2))]), _WORD, 2)
        one: Any = builder.insert_element(undefined, pair, ir.Constant(_WORD, 0))
        spread = builder.bitcast(builder.shuffle_vector(one, undefined, all_first), _SHORTS)
        for v in range(_VECTORS):
            after.append(builder.add(sums[p * _VECTORS + v], _pair_products(builder, spread, w[v])))
    following = builder.add(k, ir.Constant(_LONG, 1))
    k.add_incoming(following, loop)
    for phi, value in zip(sums, after, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, pairs), loop, done)
    builder.position_at_end(done)
    return after


def _load(builder: ir.IRBuilder, pointer: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=align)


def _pair_products(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    """a_2k · b_2k + a_2k+1 · b_2k+1 in 32 bits, in the form that LLVM knows as one instruction."""
    wide = builder.mul(builder.sext(a, _WIDES), builder.sext(b, _WIDES))
    halves: list[Any] = [
        builder.shuffle_vector(wide, ir.Constant(_WIDES, ir.Undefined), ir.Constant(_WORDS, lanes))
        for lanes in ([2 * lane + odd for lane in range(_VECTOR)] for odd in (0, 1))
    ]
    return builder.add(halves[0], halves[1])
