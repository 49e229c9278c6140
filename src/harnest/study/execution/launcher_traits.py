"""How a Hydra launcher takes jobs, and where it runs them.

A launcher declares it as a class attribute ``traits``. Hydra's own plugins, which know nothing of
this, are listed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from hydra.utils import get_class


class Jobs(Enum):
    """How a launcher takes the jobs of a study."""

    #: One by one, by its own ``submit``, see `harnest.study.execution.executor.Executor`.
    SUBMIT = auto()
    #: In batches: it runs the jobs of a batch and returns when all have ended.
    BATCH = auto()
    #: One per call of ``launch``, from many threads at once: its jobs have their own processes.
    THREADS = auto()
    #: As tasks of ray.
    RAY = auto()
    #: As jobs in SLURM's queue.
    SLURM = auto()


@dataclass(frozen=True)
class LauncherTraits:
    """How a launcher takes jobs, and where they run.

    Attributes:
        jobs: How it takes them.
        runs_elsewhere: Whether jobs run on other machines than the sweep.
        sees_all_gpus: Whether a job sees every GPU of the machine, instead of its own share.
    """

    jobs: Jobs = Jobs.BATCH
    runs_elsewhere: bool = False
    sees_all_gpus: bool = False


_PLUGINS: Mapping[str, LauncherTraits] = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": LauncherTraits(sees_all_gpus=True),
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": LauncherTraits(
        Jobs.THREADS, sees_all_gpus=True
    ),
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": LauncherTraits(
        Jobs.THREADS, sees_all_gpus=True
    ),
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": LauncherTraits(
        Jobs.SLURM, runs_elsewhere=True
    ),
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": LauncherTraits(
        Jobs.RAY, runs_elsewhere=True
    ),
    "hydra_plugins.hydra_ray_launcher.ray_aws_launcher.RayAWSLauncher": LauncherTraits(
        runs_elsewhere=True
    ),
}


def traits_of(target: str) -> LauncherTraits:
    """Return the traits of the launcher class ``target``; the defaults if it declares none."""
    if target in _PLUGINS:
        return _PLUGINS[target]
    try:
        traits = getattr(get_class(target), "traits", None)
    except Exception:  # Hydra reports a launcher that cannot be imported
        traits = None
    return traits if isinstance(traits, LauncherTraits) else LauncherTraits()
