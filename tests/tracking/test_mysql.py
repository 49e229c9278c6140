"""MLflow's store on MySQL and MariaDB, with the rights that a user of one database has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from databases import PASSWORD, SERVERS, USER
from harnest.core.errors import TrackingError
from harnest.tracking.store import experiment_id, open_store

COMPOSE = Path(__file__).parents[2] / "docker/compose.yaml"

pytestmark = pytest.mark.slow


each_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in ("mariadb", "mysql")],
)


def own_database(server):
    """Address of an empty database for a user who may do everything in it, and nothing else."""
    database = server.new_database()
    name = database.rpartition("/")[2]
    server.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{PASSWORD}'")
    server.execute(f"GRANT ALL ON {name}.* TO '{name}'@'%'")
    return database.replace(f"//{server.user}:", f"//{name}:")


@each_kind
def test_a_store_with_a_binary_log_is_refused_in_one_line(kind, server_called):
    server = server_called(kind)
    database = own_database(server)
    for _ in range(2):  # MySQL says something else about what the first left behind
        with pytest.raises(TrackingError) as refused:
            open_store(database)
        (line,) = str(refused.value).splitlines()
        assert "binary log" in line
        assert "--skip-log-bin" in line
        assert "--log-bin-trust-function-creators=1" in line
        assert PASSWORD not in line


@each_kind
def test_runs_are_recorded_with_the_options_of_the_stack(kind, tmp_path):
    options = yaml.safe_load(COMPOSE.read_text())["services"]["database"].get("command", [])
    with SERVERS[kind](USER, *options) as server:
        database = own_database(server)
        client = open_store(database)
        run = client.create_run(experiment_id(client, "x")).info.run_id
        client.log_metric(run, "score", 0.5)
        client.set_terminated(run)
        # The schema is whole: another process opens it, as MLflow's server does.
        code = (
            "import mlflow, sys; print(mlflow.MlflowClient(sys.argv[1]).get_run(sys.argv[2]).data)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, database, run],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "'score': 0.5" in done.stdout
