"""What is known of launchers: by declaration, or listed for Hydra's plugins."""

import pytest
from hydra.utils import get_class

from harnest.study.execution.launcher_traits import _PLUGINS, Jobs, LauncherTraits, traits_of


class Own:
    traits = LauncherTraits(Jobs.SUBMIT, runs_elsewhere=True)


class Silent:
    pass


@pytest.mark.parametrize("target", _PLUGINS)
def test_the_plugins_that_are_listed_exist(target):
    assert get_class(target).__name__ == target.rpartition(".")[2]


def test_our_launchers_declare_that_they_take_single_jobs():
    place = "harnest.study.execution"
    for name in ("slots_launcher.SlotsLauncher", "packed_launcher.PackedLauncher"):
        assert traits_of(f"{place}.{name}") == LauncherTraits(Jobs.SUBMIT)


def test_a_launcher_of_somebody_elses_declares_or_gets_batches():
    assert traits_of(f"{__name__}.Own") is Own.traits
    assert traits_of(f"{__name__}.Silent") == LauncherTraits(Jobs.BATCH)
    assert traits_of("nosuch.Launcher") == LauncherTraits(Jobs.BATCH)
