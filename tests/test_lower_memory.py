"""The static memory plan: arrays that are alive together never share a buffer."""

from hypothesis import given
from hypothesis import strategies as st

from stepcell.lower.memory import LocalArray, share_buffers
from stepcell.lower.parts import C_BYTES, Buffer, Call

Spans = list[tuple[str, int, int, int]]
"""Of every array: its type, elements, and the first and last call that names it."""

SPANS = st.lists(
    st.tuples(
        st.sampled_from(["int8_t", "int16_t"]), st.integers(1, 9), st.integers(0, 12), st.integers(0, 12)
    ).map(lambda s: (s[0], 4 * s[1], min(s[2:]), max(s[2:]))),
    min_size=1,
    max_size=12,
)


def planned(spans: Spans) -> tuple[list[LocalArray], tuple[Buffer, ...], list[str]]:
    """Share the arrays' buffers: (the arrays, the buffers, the buffer of each array)."""
    arrays = [LocalArray(f"a{i}", ctype, count) for i, (ctype, count, _, _) in enumerate(spans)]
    steps = range(1 + max(last for *_, last in spans))
    naming = [[i for i, (_, _, *ends) in enumerate(spans) if t in ends] for t in steps]
    calls = [Call("layer", "f", ("s->h", *(f"a{i} + 4" for i in here))) for here in naming]
    buffers, renamed = share_buffers(arrays, calls)
    of_array: dict[int, str] = {}
    for here, call in zip(naming, renamed, strict=True):
        assert call.arguments[0] == "s->h"
        for i, argument in zip(here, call.arguments[1:], strict=True):
            name, offset = argument.split(" ", 1)
            assert offset == "+ 4"
            assert of_array.setdefault(i, name) == name
    return arrays, buffers, [of_array[i] for i in range(len(spans))]


@given(SPANS)
def test_arrays_alive_together_never_share(spans: Spans) -> None:
    _, _, names = planned(spans)
    for i, (_, _, first, last) in enumerate(spans):
        for j, (_, _, other_first, other_last) in enumerate(spans[:i]):
            if first <= other_last and other_first <= last:
                assert names[i] != names[j]


@given(SPANS)
def test_a_buffer_holds_its_largest_array_and_one_type(spans: Spans) -> None:
    arrays, buffers, names = planned(spans)
    by_name = {buffer.name: buffer for buffer in buffers}
    assert set(names) == set(by_name)
    for array, name in zip(arrays, names, strict=True):
        assert by_name[name].ctype == array.ctype
        assert by_name[name].count >= array.count
        assert array.name in by_name[name].holds.split(", then ")


@given(SPANS)
def test_the_plan_needs_no_more_than_every_array_by_itself(spans: Spans) -> None:
    arrays, buffers, _ = planned(spans)
    assert sum(buffer.bytes for buffer in buffers) <= sum(a.count * C_BYTES[a.ctype] for a in arrays)
    one_after_the_other = all(
        a[3] < b[2] for a, b in zip(sorted(spans, key=_first), sorted(spans, key=_first)[1:], strict=False)
    )
    if one_after_the_other:
        assert len(buffers) == len({ctype for ctype, *_ in spans})


def _first(span: tuple[str, int, int, int]) -> int:
    return span[2]
