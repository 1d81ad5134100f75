"""Where the examples keep what they download or compute: build/data in the repository, never in git."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / "build" / "data"
