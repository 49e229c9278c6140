"""The sweep engine: Optuna studies of Hydra jobs. It knows nothing of what the jobs do.

A job of any Hydra application takes part in its study through `current_trial`, and may have its
score made of several jobs' by returning `Replicates`.
"""

from harnest.study.execution.barrier import is_packed, synchronize
from harnest.study.replicates import Replicate, Replicates
from harnest.study.trial import Trial, current_trial

__all__ = ["Replicate", "Replicates", "Trial", "current_trial", "is_packed", "synchronize"]
