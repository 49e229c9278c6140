"""The sweep engine: Optuna studies of Hydra jobs. It knows nothing of what the jobs do.

A job of any Hydra application takes part in its study through `current_trial`.
"""

from harnest.study.trial import Trial, current_trial

__all__ = ["Trial", "current_trial"]
