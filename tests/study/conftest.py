import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "foreign"))

from foreign_bench import bench, runner  # noqa: F401
from mortal_bench import empty_store, folder  # noqa: F401
