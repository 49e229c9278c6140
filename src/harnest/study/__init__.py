"""The sweep engine: Optuna studies of Hydra jobs, whatever the jobs do.

A job of any Hydra application takes part in its study through `current_trial`. One that returns
`Replicates` has the mean of their scores.
"""

from harnest.study.callback import StudyCallback
from harnest.study.execution.barrier import is_packed, synchronize
from harnest.study.replicates import Replicate, Replicates
from harnest.study.study_task import StudyTask
from harnest.study.trial import Trial, current_trial

__all__ = [
    "Replicate",
    "Replicates",
    "StudyCallback",
    "StudyTask",
    "Trial",
    "current_trial",
    "is_packed",
    "synchronize",
]
