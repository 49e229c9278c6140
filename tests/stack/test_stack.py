"""The stack at work, natively: a first start, sweeps, what it refuses, outages, backups."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import optuna
import pytest
from compose import ROOT
from native import SECRETS, native_stack

from limits import HANG_TIMEOUT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(1800),  # environments are made and filled
]

SMALL = ("trainer=cpu", "hydra.launcher.cpu_slots=2", "model.hidden_size=8", "data.batch_size=128")
SWEEP = ("harnest-train", "-m", "sweep=quick", *SMALL, "trainer.max_epochs=2")
DOCS = (ROOT / "docs/stack.md").read_text()


@pytest.fixture(scope="module")
def stack():
    """All servers, after a first start."""
    with native_stack() as stack:
        made = stack.run("database", str(ROOT / "docker/databases.sh"))
        assert made.code == 0, made
        assert stack.is_healthy("database")
        for service in ("mlflow", "dashboard", "jupyter"):
            assert not stack.is_healthy(service)
            stack.start(service)
        yield stack


@pytest.fixture(scope="module")
def swept(stack):
    """A study of three trials, with no option that says where to."""
    answer = stack.run("trainer", *SWEEP, "hydra.sweeper.n_trials=3")
    assert answer.code == 0, answer
    return answer


def get(address, path="", user=None, body=None, method=None, **headers):
    """Status and text of an answer; ``user`` is a name and a password, ``body`` is posted."""
    if user is not None:
        headers["Authorization"] = f"Basic {b64encode(':'.join(user).encode()).decode()}"
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=HANG_TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


ADMIN = ("admin", SECRETS["MLFLOW_TRACKING_PASSWORD"])


def runs_in(stack):
    address, api = stack.address("mlflow"), "/api/2.0/mlflow"
    _, found = get(address, f"{api}/experiments/get-by-name?experiment_name=harnest", ADMIN)
    group = json.loads(found)["experiment"]["experiment_id"]
    _, runs = get(address, f"{api}/runs/search", ADMIN, body={"experiment_ids": [group]})
    return json.loads(runs)["runs"]


def trials_in(stack, study="quick"):
    address = stack.file["services"]["trainer"]["environment"]["STUDY_STORAGE"]
    here = address.replace("database:3306", f"127.0.0.1:{stack.ports['database']}")
    return optuna.load_study(study_name=study, storage=here).trials


def test_a_sweep_is_kept_in_the_database_and_recorded_by_the_server(stack, swept):
    assert "study quick is complete" in swept.out
    assert "View run" not in swept.out
    assert len(trials_in(stack)) == 3
    runs = {run["info"]["run_name"]: run["info"] for run in runs_in(stack)}
    assert set(runs) == {"quick", "trial-0", "trial-1", "trial-2"}
    for run in runs.values():
        assert run["artifact_uri"].startswith("mlflow-artifacts:/")
        assert any((stack.volume("artifacts") / run["experiment_id"] / run["run_id"]).rglob("*.*"))
    kept = {path.name for path in stack.volume("work").rglob("*")}
    assert "best.ckpt" in kept
    assert not kept & {"mlflow.db", "mlruns", "study.journal"}
    ranked = stack.run("trainer", "harnest-compare", "quick")
    assert ranked.code == 0
    assert ranked.out.count("trial-") == 3


def test_no_secret_is_written_down_or_seen_by_others(stack, swept):
    secrets = [secret.encode() for secret in SECRETS.values()]
    for place in ("work", "artifacts", "cache", "accounts"):
        files = [file for file in stack.volume(place).rglob("*") if file.is_file()]
        assert files, place
        for file in files:
            assert not any(secret in file.read_bytes() for secret in secrets), file
    for service, process in stack.running.items():
        assert not any(secret.decode() in stack.said(service) for secret in secrets), service
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert not any(secret in arguments for secret in secrets), service
    assert not any(secret.decode() in swept.out + swept.err for secret in secrets)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "wr0ng-password"}, "MLFLOW_TRACKING_PASSWORD"),
        (
            {"STUDY_STORAGE": "mysql+pymysql://harnest:wr0ng-password@database:3306/studies"},
            "Access denied for user 'harnest'",
        ),
    ],
    ids=["MLflow", "studies"],
)
def test_a_wrong_password_is_told_in_one_line(stack, wrong, told):
    answer = stack.run("trainer", *SWEEP, "hydra.sweeper.study=never", **wrong)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert told in line
    assert "wr0ng" not in line
    assert not (stack.volume("work") / "multirun/never").exists()


def test_mlflow_shows_nothing_without_a_password(stack, swept):
    address = stack.address("mlflow")
    run = runs_in(stack)[0]["info"]
    artifacts = f"{run['experiment_id']}/{run['run_id']}/artifacts"
    paths = (
        "/",
        f"/api/2.0/mlflow/runs/get?run_id={run['run_id']}",
        f"/api/2.0/mlflow-artifacts/artifacts?path={artifacts}",
        f"/api/2.0/mlflow-artifacts/artifacts/{artifacts}/config.yaml",
    )
    for path in paths:
        assert get(address, path)[0] == 401, path
        assert get(address, path, ("admin", "wr0ng-password"))[0] == 401, path
        assert get(address, path, ADMIN)[0] in (200, 404), path
    assert get(address, "/health")[0] == 200


def test_mlflow_answers_to_its_own_names_only(stack):
    address = stack.address("mlflow")
    for host, status in {
        "mlflow:5000": 200,
        "localhost:5000": 200,
        "elsewhere.example:5000": 403,
    }.items():
        assert get(address, "/", ADMIN, Host=host)[0] == status, host
    body = {"max_results": 1}
    search = "/api/2.0/mlflow/experiments/search"
    for origin, status in {
        "http://localhost:5000": 200,
        "http://elsewhere.example": 403,
    }.items():
        assert get(address, search, ADMIN, body, Origin=origin)[0] == status, origin


def test_another_user_goes_on_with_the_same_study_from_another_container(stack, swept):
    """It shares no folder with the first, and writes to the same experiment."""
    address = f"{stack.address('mlflow')}/api/2.0/mlflow/users"
    name, password = "student", "another-long-password"
    body = {"username": name, "password": "a-longer-password"}
    assert get(address, "/create", body=body)[0] == 401
    assert get(address, "/create", ADMIN, body)[0] == 200
    body["password"] = password
    assert get(address, "/update-password", ADMIN, body, "PATCH")[0] == 200
    body["username"] = "one more"
    assert get(address, "/create", (name, password), body)[0] == 403
    answer = stack.run(
        "trainer",
        *SWEEP,
        "hydra.sweeper.n_trials=4",
        f"hydra.sweep.dir={stack.volume('elsewhere')}/quick",
        MLFLOW_TRACKING_USERNAME=name,
        MLFLOW_TRACKING_PASSWORD=password,
    )
    assert answer.code == 0, answer
    assert re.findall(r"trial (\d+) started", answer.out) == ["3"]
    assert len(trials_in(stack)) == 4
    assert "trial-3" in {run["info"]["run_name"] for run in runs_in(stack)}


def test_jupyterlab_asks_for_its_token(stack, swept):
    address, token = stack.address("jupyter"), SECRETS["JUPYTER_TOKEN"]
    for path in ("/api/contents", "/api/kernels", "/api/contents?token=wr0ng"):
        assert get(address, path)[0] == 403, path
    assert "JupyterLab" not in get(address, "/lab")[1]  # but a form that asks
    status, listed = get(address, "/api/contents", Authorization=f"token {token}")
    assert status == 200
    assert "multirun" in {each["name"] for each in json.loads(listed)["content"]}
    assert "JupyterLab" in get(address, f"/lab?token={token}")[1]


def test_the_dashboard_shows_the_study(stack, swept):
    _, studies = get(stack.address("dashboard"), "/api/studies")
    assert "quick" in {each["study_name"] for each in json.loads(studies)["study_summaries"]}


def test_a_restart_of_the_database_in_the_middle_of_a_sweep_loses_nothing(stack, swept):
    command = [*SWEEP, "hydra.sweeper.study=through", "hydra.sweeper.n_trials=6"]
    sweeper = subprocess.Popen(**stack.process("trainer", command, {}))
    try:
        deadline = time.monotonic() + HANG_TIMEOUT
        while not (stack.volume("work") / "multirun/through/1").exists():
            assert sweeper.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        stack.database.stop()
        assert not stack.is_healthy("database")
        time.sleep(3)
        stack.database.start()
        out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    finally:
        sweeper.kill()
        sweeper.communicate()
    assert sweeper.returncode == 0, out + err
    trials = trials_in(stack, "through")
    assert len(trials) == 6
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert stack.run("trainer", "harnest-compare", "through").out.count("trial-") == 6
    for service in ("database", "mlflow", "dashboard", "jupyter"):
        assert stack.is_healthy(service), service


def told_in(part):
    """The commands in a part of the docs that are given to a container."""
    text = re.split(rf"^#+ {part}$", DOCS, flags=re.MULTILINE)[1]
    lines = re.split(r"^#+ ", text, flags=re.MULTILINE)[0].replace("\\\n", " ")
    return re.findall(r"^\$ (docker compose (?:run|exec) .*)$", lines, re.MULTILINE)


def test_a_backup_brings_everything_back_and_the_schema_can_be_upgraded(stack, swept):
    before = runs_in(stack), len(trials_in(stack))
    file = next(stack.volume("artifacts").rglob("report.html"))
    report = file.read_bytes()
    stack.stop("mlflow")
    for line in told_in("Backups"):
        stack.type(line)
    for name in ("mlflow", "studies"):
        stack.database.execute(f"DROP DATABASE {name}")
    for path in (file, stack.volume("accounts") / "accounts.db"):
        path.unlink()
    for line in told_in("Restoring them"):
        stack.type(line)
    (upgrade,) = told_in("A newer MLflow")
    stack.type(upgrade)
    stack.start("mlflow")
    assert (runs_in(stack), len(trials_in(stack))) == before
    assert file.read_bytes() == report
