"""Trains a recorded run again, and compares the scores."""

from collections.abc import Callable

from harnest.tracking.provenance import provenance
from harnest.tracking.reproduce import differences, load_original
from harnest.training.retrain import retrain


def rerun(name: str, address: str, experiment: str, say: Callable[[str], None]) -> bool:
    """Train a recorded run's config again, and compare; False where the score is another."""
    first = load_original(name, address, experiment)
    if first.run is not None:
        for line in differences(first.run.data.tags, provenance()):
            say(f"differs: {line}")

    repeats = first.name if first.run is None else first.run.info.run_id
    done = retrain(
        first.cfg, name=f"{first.name} again", address=address, tags={"repeats": repeats}
    )
    if first.run is None or first.score is None:
        say(f"score {done.score:.6f}; {first.name} has no recorded score to compare with")
        return True
    if done.score == first.score:
        say(f"score {done.score:.6f}, the same as recorded")
        return True
    second = load_original(str(done.directory), address, first.cfg.logger.mlflow.experiment)
    assert second.run is not None
    differ = differences(first.run.data.tags, second.run.data.tags)
    say(
        f"score {done.score:.6f}, not the recorded {first.score:.6f}; "
        + (f"what differs: {'; '.join(differ)}" if differ else "nothing that is recorded differs")
    )
    return False
