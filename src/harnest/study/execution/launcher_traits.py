"""Traits of Hydra launchers that a study depends on.

A launcher declares them as a class attribute ``traits``. Hydra's own plugins, which do not, are
listed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from hydra.utils import get_class


class Jobs(Enum):
    """How a launcher takes the jobs of a study."""

    #: Single jobs: the launcher is an `harnest.study.execution.executor.Executor` itself.
    SUBMIT = auto()
    #: In batches: ``launch`` returns when all jobs of a batch have ended.
    BATCH = auto()
    #: One per call of ``launch``, from several threads at once; each job has its own process.
    THREADS = auto()
    #: As ray tasks.
    RAY = auto()
    #: As SLURM jobs.
    SLURM = auto()


@dataclass(frozen=True)
class LauncherTraits:
    """How a launcher takes jobs, and where they run.

    Args:
        jobs: How the launcher takes jobs.
        runs_elsewhere: Whether jobs run on other machines than the sweeper.
        sees_all_gpus: Whether a job sees every GPU of the machine instead of its own share.
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
    except Exception:  # Hydra itself reports a launcher that cannot be imported
        traits = None
    return traits if isinstance(traits, LauncherTraits) else LauncherTraits()
