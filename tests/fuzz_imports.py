"""Fuzzing of the importers: damaged files, each imported in a worker with limits.

A case is a number: it chooses a file of the corpus and what is done to it, so that a finding can be
repeated. Whatever happens, an import has to end with a Model or a StepcellError.
"""

import multiprocessing
import resource
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import onnx

from inotify import OpensIn
from stepcell.errors import StepcellError
from stepcell.importers import import_model

SECONDS = 5.0
"""Of processor time an import may take."""
BYTES = 1 << 30
"""Of data a process may allocate, and of memory it may ever have held."""
CASES_OF_A_WORKER = 100
HUGE = (2**31, 2**40, 2**62, -1, -(2**31), 0, 2**16 + 1)

Random = np.random.Generator


@dataclass(frozen=True)
class Finding:
    """An import that ended in none of the two allowed ways."""

    case: int
    file: str
    what: str


def run_cases(corpus: Sequence[Path], cases: range, folder: Path) -> tuple[Counter[str], list[Finding]]:
    """Import every case, in workers that die of what they do; (endings, findings)."""
    endings: Counter[str] = Counter()
    findings: list[Finding] = []
    folder.mkdir(parents=True, exist_ok=True)
    todo = list(cases)
    while todo:
        part = todo[:CASES_OF_A_WORKER]
        done = _in_worker(corpus, part, folder, endings, findings)
        todo = todo[done:]
    return endings, findings


def _in_worker(
    corpus: Sequence[Path], cases: list[int], folder: Path, endings: Counter[str], findings: list[Finding]
) -> int:
    """How many of the cases a worker got through; the one it died of counts."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(corpus, cases, folder, send))
    worker.start()
    send.close()
    done = 0
    try:
        while receive.poll(10 * SECONDS):
            ending, what = receive.recv()
            endings[ending] += 1
            if ending == "finding":
                findings.append(Finding(cases[done], str(what[0]), str(what[1])))
            done += 1
    except EOFError:
        pass
    if worker.is_alive() and done < len(cases):
        worker.kill()
    worker.join()
    if done < len(cases):
        why = f"the process ended with {worker.exitcode}" if worker.exitcode != -9 else "it hung"
        findings.append(Finding(cases[done], chosen(corpus, cases[done]).name, why))
        endings["finding"] += 1
        done += 1
    return done


def _work(
    corpus: Sequence[Path], cases: list[int], folder: Path, send: "multiprocessing.connection.Connection"
) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    signal.signal(signal.SIGPROF, _too_slow)
    outside = folder / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret.bin").write_bytes(bytes(1 << 16))
    inside = folder / f"case_{cases[0]}"
    inside.mkdir(exist_ok=True)
    if not (inside / "link").exists():
        (inside / "link").symlink_to(outside)
    with OpensIn(outside) as opens:
        for case in cases:
            send.send(_ending(corpus, case, inside, opens))


class _TooSlow(BaseException):
    """Not an Exception, so that no handler in the importers takes it for one."""


def _too_slow(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _TooSlow


def _ending(corpus: Sequence[Path], case: int, inside: Path, opens: OpensIn) -> tuple[str, tuple[str, str]]:
    source = chosen(corpus, case)
    path = inside / f"damaged{source.suffix}"
    path.write_bytes(damaged(source, case))
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        import_model(path)
        ending, what = "imported", ""
    except StepcellError:
        ending, what = "refused", ""
    except _TooSlow:
        ending, what = "finding", "it ran on and on"
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        ending, what = "finding", f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - start
    if ending != "finding" and seconds > SECONDS:
        ending, what = "finding", f"it took {seconds:.1f} s"
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > BYTES:
        ending, what = "finding", "it took over 1 GB of memory"
    if opens.any():
        ending, what = "finding", "it opened a file outside the model's folder"
    return ending, (source.name, what)


def chosen(corpus: Sequence[Path], case: int) -> Path:
    """The file that a case damages."""
    return corpus[case % len(corpus)]


def damaged(source: Path, case: int) -> bytes:
    """The bytes of a case."""
    random = np.random.default_rng(case)
    content = source.read_bytes()
    ways: list[Callable[[Random, bytes], bytes]] = [flip_bits, cut, overwrite_words]
    if source.suffix == ".onnx":
        ways += [change_structure] * 4
    return ways[random.integers(len(ways))](random, content)


def flip_bits(random: Random, content: bytes) -> bytes:
    """One to sixteen bits, near each other or anywhere."""
    changed = bytearray(content)
    start = int(random.integers(len(content)))
    width = min(len(content) - start, 64) if random.integers(2) else len(content) - start
    for _ in range(int(random.integers(1, 17))):
        changed[start + int(random.integers(width))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def cut(random: Random, content: bytes) -> bytes:
    """The beginning of a file; sometimes with its end."""
    a, b = sorted(int(n) for n in random.integers(len(content), size=2))
    return content[:b] if random.integers(2) else content[:a] + content[b:]


def overwrite_words(random: Random, content: bytes) -> bytes:
    """Some words become huge, negative or each other's values: sizes, offsets, tags."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        at = 4 * int(random.integers(max(1, len(content) // 4)))
        other = 4 * int(random.integers(max(1, len(content) // 4)))
        words = [struct.pack("<I", n & 0xFFFFFFFF) for n in HUGE]
        words += [content[other : other + 4], struct.pack("<I", int(random.integers(len(content))))]
        word = words[int(random.integers(len(words)))]
        changed[at : at + len(word)] = word
    return bytes(changed)


def change_structure(random: Random, content: bytes) -> bytes:
    """A well-formed ONNX file that says something else."""
    model = onnx.load_from_string(content)
    changes = [
        _huge_size,
        _huge_attribute,
        _rewire,
        _rename_output,
        _drop,
        _outside,
        _other_operator,
        _swap_nodes,
        _change_constant,
    ]
    for _ in range(int(random.integers(1, 4))):
        changes[int(random.integers(len(changes)))](random, model.graph)
    return bytes(model.SerializeToString())


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _any_node(random: Random, graph: onnx.GraphProto) -> onnx.NodeProto | None:
    nodes = [node for part in _graphs(graph) for node in part.node]
    return nodes[int(random.integers(len(nodes)))] if nodes else None


def _huge_size(random: Random, graph: onnx.GraphProto) -> None:
    size = HUGE[int(random.integers(len(HUGE)))]
    tensors = [tensor for tensor in graph.initializer if len(tensor.dims)]
    dims = [dim for info in graph.input for dim in info.type.tensor_type.shape.dim]
    if tensors and random.integers(2):
        tensor = tensors[int(random.integers(len(tensors)))]
        tensor.dims[int(random.integers(len(tensor.dims)))] = size
    elif dims:
        dims[int(random.integers(len(dims)))].dim_value = size


def _huge_attribute(random: Random, graph: onnx.GraphProto) -> None:
    node = _any_node(random, graph)
    size = HUGE[int(random.integers(len(HUGE)))]
    for attribute in node.attribute if node is not None else ():
        if attribute.type == onnx.AttributeProto.INT:
            attribute.i = size
        elif len(attribute.ints):
            attribute.ints[int(random.integers(len(attribute.ints)))] = size
        elif attribute.type == onnx.AttributeProto.FLOAT:
            attribute.f = float(random.choice([np.nan, np.inf, -1.0, 1e38]))


def _names(graph: onnx.GraphProto) -> list[str]:
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*names, *(tensor.name for tensor in graph.initializer), ""]


def _rewire(random: Random, graph: onnx.GraphProto) -> None:
    """An input becomes any other tensor, one computed later, too: a cycle."""
    node, names = _any_node(random, graph), _names(graph)
    if node is not None and len(node.input):
        node.input[int(random.integers(len(node.input)))] = names[int(random.integers(len(names)))]


def _rename_output(random: Random, graph: onnx.GraphProto) -> None:
    node, names = _any_node(random, graph), _names(graph)
    if node is not None and len(node.output):
        node.output[int(random.integers(len(node.output)))] = names[int(random.integers(len(names)))]


def _drop(random: Random, graph: onnx.GraphProto) -> None:
    node = _any_node(random, graph)
    parts = [graph.node, graph.initializer, graph.input, graph.output]
    parts += [node.input, node.output, node.attribute] if node is not None else []
    part = parts[int(random.integers(len(parts)))]
    if len(part):
        del part[int(random.integers(len(part)))]


def _outside(random: Random, graph: onnx.GraphProto) -> None:
    """A weight claims to lie in a file that the model has no business to read."""
    if not len(graph.initializer):
        return
    tensor = graph.initializer[int(random.integers(len(graph.initializer)))]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    places = ["../outside/secret.bin", "link/secret.bin", "./../outside/secret.bin", "/etc/passwd", "\0", ""]
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", places[int(random.integers(len(places)))]


def _other_operator(random: Random, graph: onnx.GraphProto) -> None:
    node, other = _any_node(random, graph), _any_node(random, graph)
    if node is not None and other is not None:
        more = [
            other.op_type,
            "Loop",
            "If",
            "Scan",
            "LSTM",
            "Reshape",
            "Conv",
            "Resize",
            "ConstantOfShape",
            "Tile",
        ]
        node.op_type = more[int(random.integers(len(more)))]


def _swap_nodes(random: Random, graph: onnx.GraphProto) -> None:
    if len(graph.node) > 1:
        a, b = (int(n) for n in random.integers(len(graph.node), size=2))
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(graph.node[a])
        second.CopyFrom(graph.node[b])
        graph.node[a].CopyFrom(second)
        graph.node[b].CopyFrom(first)


def _change_constant(random: Random, graph: onnx.GraphProto) -> None:
    """Shapes, axes and indices of other sizes."""
    constants = [
        t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64 and len(t.raw_data) >= 8
    ]
    if constants:
        tensor = constants[int(random.integers(len(constants)))]
        values = np.frombuffer(tensor.raw_data, np.int64).copy()
        values[int(random.integers(len(values)))] = HUGE[int(random.integers(len(HUGE)))]
        tensor.raw_data = values.tobytes()
