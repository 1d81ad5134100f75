"""What both networks that listen to speech can be told when they are compiled."""

from __future__ import annotations

import argparse


def compile_arguments(description: str) -> argparse.Namespace:
    """seconds: of speech that the network is judged on; activations: see `Options`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--activations", choices=["auto", "int8", "int16"], default="auto")
    return parser.parse_args()
