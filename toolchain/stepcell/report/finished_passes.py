"""Passes of a recipe that are through: files that a killed run goes on from."""

import hashlib
import json
from pathlib import Path

from stepcell.compress.recipe import Pass
from stepcell.compress.task import Task
from stepcell.ir.files import dump_model, load_model
from stepcell.ir.model import Model
from stepcell.report.compression import Line


def made_from(model: Model, task: Task, target: str, seed: int) -> str:
    """What a pass depends on, besides the passes before it."""
    splits = (task.train, task.validation)
    arrays = [array for data in splits for array in (data.x, data.lengths, data.y) if array is not None]
    parts = [dump_model(model), *(array.tobytes() for array in arrays), f"{target} {seed}".encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class Finished:
    """The passes in a folder; `origin` is what the first one was made from.

    NN.npz holds the model after pass NN, NN.json its line and what it was made from.
    """

    def __init__(self, folder: Path, resume: bool, origin: str) -> None:
        """Without `resume` what is there is removed."""
        self._folder, self._chain = folder, origin
        self._folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            self._forget_from(0)

    def checkpoint(self, number: int) -> Path:
        """Where pass `number` keeps its epochs; of another recipe there is none."""
        return self._folder / f"{number:02}-{self._chain[:8]}.checkpoint"

    def begin(self, number: int, step: Pass | None) -> tuple[Model, Line] | None:
        """Pass `number`, if it was finished and made from the same; else nothing after it is kept either."""
        self._chain = hashlib.sha256(f"{self._chain} {step!r}".encode()).hexdigest()
        about = self._folder / f"{number:02}.json"
        known = json.loads(about.read_text()) if about.is_file() else {}
        if known.get("made_from") != self._chain:
            self._forget_from(number, but=self.checkpoint(number).stem)
            return None
        content = (self._folder / f"{number:02}.npz").read_bytes()
        return load_model(content, about.name), Line(**known["line"])

    def keep(self, number: int, model: Model, line: Line) -> None:
        """Write the pass; its .json last and at once, so that it stands for a whole one."""
        (self._folder / f"{number:02}.npz").write_bytes(dump_model(model))
        partial = self._folder / f"{number:02}.partial"
        partial.write_text(json.dumps({"made_from": self._chain, "line": line.to_json()}, indent=2))
        partial.replace(self._folder / f"{number:02}.json")
        for file in self._folder.glob(f"{number:02}-*.checkpoint"):
            file.unlink()

    def _forget_from(self, number: int, but: str = "none") -> None:
        """A pass that trains several times has several checkpoints, whose names begin alike."""
        for file in self._folder.glob("[0-9][0-9]*"):
            if int(file.name[:2]) >= number and not file.name.startswith(but):
                file.unlink()
