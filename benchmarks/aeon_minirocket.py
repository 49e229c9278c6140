"""MiniRocket and ridge regression of the library aeon on the windows and the split of `results`.

    python benchmarks/aeon_minirocket.py ARCHIVE [SEEDS]

ARCHIVE is HAPT's zip file. aeon needs other versions of numpy than this project is tested with: it
gets an environment of its own, made anew from the package index. Windows, split, and the two scores
are this project's; all subjects who are not tested are trained on, as there. Nothing is chosen by
the score.
"""

import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from harnest.core.paths import CONFIG_DIR
from harnest.har.components import make_data
from harnest.har.predictions import confusion, macro_f1

AEON = "aeon==1.6.0"
FIT = """
import sys
import numpy as np
from aeon.classification.convolution_based import MiniRocketClassifier

kept = np.load("windows.npz")
classifier = MiniRocketClassifier(random_state=int(sys.argv[1]))
classifier.fit(kept["train_signals"], kept["train_labels"])
np.save("predicted.npy", classifier.predict(kept["test_signals"]))
"""


def main() -> None:
    """Print each seed's scores, and their means."""
    archive = Path(sys.argv[1]).absolute()
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    with initialize_config_dir(str(CONFIG_DIR)):
        cfg = compose("train", ["data=hapt", "data.validation=null", f"data.archive='{archive}'"])
    data = make_data(cfg)
    parts = {part: data.tensors(part) for part in ("train", "test")}
    truth, classes = parts["test"][1].numpy(), len(data.windows.activities)
    scores = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = {}
        for part, (signals, labels) in parts.items():
            arrays[f"{part}_signals"] = signals.numpy().transpose(0, 2, 1)  # channels first
            arrays[f"{part}_labels"] = labels.numpy()
        np.savez(folder / "windows.npz", **arrays)
        python = folder / "venv" / "bin" / "python"
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", AEON], check=True)
        for seed in range(seeds):
            subprocess.run([python, "-c", FIT, str(seed)], cwd=folder, check=True)
            predicted = np.load(folder / "predicted.npy")
            f1 = macro_f1(confusion(truth, predicted, classes))
            scores.append((float((predicted == truth).mean()), f1))
            print(f"seed {seed}: accuracy {scores[-1][0]:.4f}, macro-F1 {f1:.4f}", flush=True)
    accuracy, f1 = map(statistics.fmean, zip(*scores, strict=True))
    print(f"mean: accuracy {accuracy:.4f}, macro-F1 {f1:.4f}")


if __name__ == "__main__":
    main()
