"""Hydra's own suites for plugins, with our launcher and with our sweeper.

Its suite for sweepers that take batches (`BatchedSweeperTestSuite`) is not theirs: ours takes none.
"""

import pytest
from hydra.core.plugins import Plugins
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite

Plugins.instance()  # before the suites restore what they find of Hydra

WITH_SLOTS = ["-m", "hydra/launcher=slots"]
WITH_STUDY = [*WITH_SLOTS, "hydra/sweeper=study"]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("slots", [])])
class TestSlots(LauncherTestSuite):
    """Hydra's sweeper, and jobs in slots."""


@pytest.mark.slow  # each case starts a process, and some two
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, WITH_SLOTS)])
class TestSlotsAsAScript(IntegrationTestSuite):
    """The same, by scripts of their own."""


@pytest.mark.parametrize(("launcher_name", "overrides"), [("slots", ["hydra/sweeper=study"])])
class TestStudy(LauncherTestSuite):
    """Our sweeper, and jobs in slots."""

    @pytest.mark.xfail(strict=True, reason="a study without a score ends with a line of its own")
    def test_failure_preserves_task_traceback(
        self, hydra_sweep_runner, launcher_name, overrides, tmpdir
    ):
        """The line names the task's error, whose traceback is kept with its trial."""
        super().test_failure_preserves_task_traceback(
            hydra_sweep_runner, launcher_name, overrides, tmpdir
        )

    @pytest.mark.xfail(strict=True, reason="fixed overrides go before the searched ones")
    def test_sweep_and_override(self, hydra_sweep_runner, launcher_name, overrides, tmpdir):
        """The job's config is the same; the order of its overrides is not the command's."""
        super().test_sweep_and_override(hydra_sweep_runner, launcher_name, overrides, tmpdir)

    @pytest.mark.xfail(strict=True, reason="a study needs numbers, and this task returns a word")
    def test_sweep_with_custom_resolver(self, hydra_sweep_runner, launcher_name, overrides, tmpdir):
        """Optuna cannot judge a trial by it."""
        super().test_sweep_with_custom_resolver(
            hydra_sweep_runner, launcher_name, overrides, tmpdir
        )


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="a study needs scores, and the task of these returns None")
@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, WITH_STUDY)])
class TestStudyAsAScript(IntegrationTestSuite):
    """The same by scripts; some also ask for another directory than a trial's number."""
