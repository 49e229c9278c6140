"""Plans, callbacks and executors for tests of a study's parts, without Hydra around them."""

from concurrent.futures import Future
from contextlib import contextmanager

from hydra.core.utils import JobReturn, JobStatus

from harnest.study.callback import StudyCallback
from harnest.study.manager import open_study
from harnest.study.plan import StudyPlan
from harnest.study.space.search_space import SearchSpace


def plan_for(directory, *overrides, **options):
    """A plan whose study is kept in ``directory``; the others are as the sweeper's defaults."""
    defaults = {
        "directions": ["minimize"],
        "n_trials": None,
        "address": None,
        "sampler": None,
        "pruner": None,
        "timeout": None,
        "max_failure_rate": 0.9,
        "retry": {},
        "resume_from": {},
        "constraints": [],
        "enqueue": [],
    }
    space = SearchSpace.parse(list(overrides))
    return StudyPlan("s", directory / "s", space, **defaults | options)


class Events(StudyCallback):
    """Lists what a study tells its callbacks."""

    def __init__(self):
        self.seen = []

    def on_study_start(self, study, trials):
        self.seen.append(("study", len(trials)))

    def on_trial_start(self, trial, directory):
        self.seen.append(("start", trial.number, directory.name))
        return {"VARIABLE": str(trial.number)}

    def on_replicates_created(self, trial):
        self.seen.append(("replicates", trial.number, trial.replicates))

    def on_replicate_start(self, trial, name, directory):
        self.seen.append(("start", trial.number, directory.name))
        return {}

    def on_replicate_end(self, trial, name, directory, end):
        self.seen.append(("end of", trial.number, name, end.state.name))

    def on_trial_end(self, trial, directory):
        self.seen.append(("end", trial.number, trial.state.name))


@contextmanager
def opened(plan):
    """The open study of a plan, and its events."""
    events = Events()
    with open_study(plan, [events]) as study:
        yield study, events.seen


def returned(value):
    """The return of a job that returned ``value``, or raised it."""
    done = JobReturn()
    done.status = JobStatus.FAILED if isinstance(value, BaseException) else JobStatus.COMPLETED
    done.return_value = value
    return done


class InlineExecutor:
    """An `Executor` whose jobs end as they are submitted: ``job`` maps overrides to a value.

    A job that returns None stays running.
    """

    def __init__(self, job, capacity=2):
        self.job = job
        self.capacity = capacity
        self.submitted = []
        self.signals = []
        self.most = 0
        self._open = []

    def submit(self, overrides, number, replicate="", retry_of=None):
        self.submitted.append((number, replicate, tuple(overrides)))
        future = Future()
        value = self.job(number, replicate)
        if value is not None:
            future.set_result(returned(value))
        self._open.append(future)
        self.most = max(self.most, sum(not one.done() for one in self._open))
        return future

    def interrupt(self, number_of_signal, within=None):
        self.signals.append(number_of_signal)

    def close(self):
        pass
