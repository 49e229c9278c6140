"""What all tests share."""

import gc
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from commands import Answer, command, warm
from databases import ON_REQUEST, SERVERS

pytest_plugins = ["foreign_bench", "mortal_bench"]

# A shell's background job is started to ignore Ctrl-C, and all that it starts would too: the
# tests that send one have to mean something there as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

_OTHERS = (
    "HARNEST_TRUST",
    "HYDRA_FULL_ERROR",
    "MLFLOW_RUN_ID",
    "MLFLOW_TRACKING_URI",
    "STUDY_STORAGE",
)

# A busy machine may take any time for an example.
hypothesis.settings.register_profile("harnest", deadline=None)
hypothesis.settings.load_profile("harnest")

# One thread per process is fastest for small networks where several tests run at once: torch's
# threads wait for each other by spinning. What is trained as a trial is told its number anyway.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is imported stays: to look for garbage among it again and again takes seconds while tests
# are collected, and a tenth of each sweep in a test.
gc.disable()


def pytest_collection_finish():
    """From here on garbage is looked for, among what tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory):
    """One folder of prepared data for all tests that name no other, and for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "harnest-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNEST_CACHE", str(folder))
        patch.setenv("COLUMNS", "80")
        for name in _OTHERS:
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture
def as_before():
    """Undo what assembling sets for a whole process, which usually has one run."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


class Workplace(NamedTuple):
    """A folder where a run and a sweep of two trials were given."""

    folder: Path
    run: Path
    study: Path
    swept: Answer


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """Made once; tests that use it belong to the xdist group "workplace"."""
    folder = tmp_path_factory.mktemp("workplace")
    small = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=2")
    alone = warm("train", *small, "optimizer.lr=3e-3", folder=folder)
    assert alone.code == 0, alone
    study = ("hydra.sweeper.study=pair", "optimizer.lr=1e-4,1e-2")
    swept = command("train", "-m", *study, *small, folder=folder)
    assert swept.code == 0, swept
    (run,) = folder.glob("outputs/*/*")
    return Workplace(folder, run, folder / "multirun" / "pair", swept)


@pytest.fixture(scope="session")
def server_called():
    """Gives the database server of a name, started when it is first asked for.

    Tests that use one belong to the xdist group of its name.
    """
    running = {}
    with ExitStack() as stack:

        def called(name):
            if name not in running:
                running[name] = stack.enter_context(SERVERS[name]())
            return running[name]

        yield called


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.xdist_group(name))
        for name in SERVERS
        if name not in ON_REQUEST
    ]
)
def server(request, server_called):
    """Each of the database servers but those that a test asks for by `databases.on_all_servers`."""
    return server_called(request.param)


@pytest.fixture(scope="module")
def tidied(workplace):
    """The workplace, whose store has afterwards no more runs than before."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{workplace.folder}/mlflow.db")
    group = client.get_experiment_by_name("harnest").experiment_id
    before = {run.info.run_id for run in client.search_runs([group])}
    yield workplace
    for run in client.search_runs([group]):
        if run.info.run_id not in before:
            client.delete_run(run.info.run_id)
