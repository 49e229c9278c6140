import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "foreign"))

from foreign_bench import bench, client, empty_store, runner, store  # noqa: F401
from mortal_bench import folder  # noqa: F401
