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

    @pytest.mark.xfail(strict=True, reason="a study none of whose trials finished has one line")
    def test_failure_preserves_task_traceback(self, *given, **fixtures):
        """Its error names the task's; the traceback is with the trial, and in the terminal."""
        super().test_failure_preserves_task_traceback(*given, **fixtures)
