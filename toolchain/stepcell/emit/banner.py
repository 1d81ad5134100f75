"""What the generated header says of where it came from."""

from stepcell.ir.model import Model, Source


def banner(
    source: Source, model: Model, target: str, weights: str, activations: str, command: str
) -> tuple[str, ...]:
    """Lines for the comment at the top of NAME.h; `model` was compiled, `source` imported."""
    pruned = ", ".join(f"{name} {mask.keep.mean():.2f} in {mask.block}" for name, mask in model.masks.items())
    lines = [
        f"Source: {source.file}, sha256 {source.sha256}.",
        f"Target: {target}. Weights {weights}, activations {activations}.",
        f"Densities: {pruned}." if pruned else "Nothing is pruned.",
        f"Made by: {command}" if command else "",
    ]
    return tuple(_inside_a_comment(line) for line in lines if line)


def _inside_a_comment(line: str) -> str:
    """File names may hold anything, also what would begin or end a C comment, or a line."""
    return " ".join(line.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").split())
