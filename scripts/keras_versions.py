"""Both versions of Keras, which an environment variable chooses between before TensorFlow is loaded."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def run_versions(script: str, versions: Mapping[str, str], make: Callable[[Path, str], None]) -> None:
    """Run `script FOLDER` once for each version {name: TF_USE_LEGACY_KERAS}, in a process of its own.

    Such a process has the name as its second argument, and makes what it is for.
    """
    folder, *version = sys.argv[1:]
    if version:
        make(Path(folder), *version)
        return
    for name, legacy in versions.items():
        environment = dict(
            os.environ, TF_USE_LEGACY_KERAS=legacy, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES=""
        )
        subprocess.run([sys.executable, script, folder, name], env=environment, check=True)
