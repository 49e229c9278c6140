"""What cannot be done is told in one line, exit code 2, and leaves nothing behind."""

import http.server
import re
import socket
import threading
import zipfile

import pytest
import torch

from commands import command, warm

# Told before torch is imported: the command line as typed, and what the line has to say.
AT_ONCE = [
    (["nosuch=3"], ["nosuch: there is no such key", "--cfg job"]),
    (["debug=null"], ["must be a string or a list", "leave it out or give none"]),
    (["modle=lstm"], ["modle: there is no such key", "did you mean model?"]),
    (["model.hiden_size=3"], ["model.hiden_size", "did you mean model.hidden_size?"]),
    (["hidden_size=3"], ["hidden_size", "did you mean model.hidden_size?"]),
    (["model=lsmt"], ["model=lsmt", "did you mean lstm?"]),
    (["data=wach"], ["data=wach", "did you mean watch?", "hapt, uci_har, watch"]),
    (
        ["logger=[csv,tensorbord]"],
        ["logger=tensorbord", "did you mean tensorboard?", "csv, mlflow"],
    ),
    (["experiment=nosuch"], ["experiment=nosuch", "hapt_bilstm"]),
    (["sweep=quik"], ["sweep=quik", "did you mean quick?"]),
    (["-m", "sweep=quik"], ["sweep=quik", "did you mean quick?"]),
    (["sweep=quick"], ["sweep=quick", "add -m"]),
    (["~nosuch"], ["nosuch"]),
    (["+seed=1"], ["seed=1", "remove + prefix"]),
    (["seed=[1"], ["seed=[1"]),
    (["seed"], ["seed", "missing EQUAL"]),
    (["data.window=${nosuch}"], ["nosuch"]),
    (["model.hidden_size=big"], ["model.hidden_size=big", "a whole number, as its default 64"]),
    (["model.hidden_size=1.5"], ["model.hidden_size=1.5", "a whole number"]),
    (["model.bidirectional=3"], ["model.bidirectional=3", "true or false"]),
    (["optimizer.lr=fast"], ["optimizer.lr=fast", "a number"]),
    (["trainer.max_epochs=ten"], ["trainer.max_epochs=ten", "a whole number"]),
    (["seed=x"], ["seed=x", "a whole number"]),
    (["experiment=hapt_bilstm", "model.layers=x"], ["model.layers=x", "its default 2"]),
    (["data.batch_size=0"], ["data.batch_size=0", "a whole number of at least 1"]),
    (["model.dropout=1.0"], ["model.dropout=1.0", "at least 0 and below 1"]),
    (["threads=0"], ["threads=0", "at least 1"]),
    (["resume=nowhere.ckpt"], ["resume=nowhere.ckpt", "a checkpoint that exists"]),
    (
        ["objective.metric=val/f1"],
        ["objective.metric=val/f1", "val/loss, val/accuracy, val/macro_f1"],
    ),
    (["objective.mode=up"], ["objective.mode=up", "max or min"]),
    (
        ["trainer.max_epochs=null"],
        ["trainer.max_epochs=null", "+trainer.max_steps or +trainer.max_time"],
    ),
    (["trainer.max_epochs=-1"], ["trainer.max_epochs=-1", "+trainer.max_steps"]),
    (["trainer.check_val_every_n_epoch=0"], ["n_epoch=0", "a whole number of at least 1"]),
    (
        ["trainer.check_val_every_n_epoch=5", "trainer.max_epochs=2"],
        ["trainer.check_val_every_n_epoch=5", "trainer.max_epochs=2", "choose at most 2"],
    ),
    (["debug=fast", "trainer.check_val_every_n_epoch=2"], ["choose at most 1"]),
    (["trainer.limit_train_batches=0"], ["trainer.limit_train_batches=0", "above 0"]),
    (
        ["trainer.limit_val_batches=0"],
        ["trainer.limit_val_batches=0", "val/macro_f1", "objective.metric=train/loss"],
    ),
    (["callbacks.early_stopping.monitor=val/f1"], ["monitor=val/f1", "val/macro_f1"]),
    (["seed=1,2"], ["seed=1,2", "--multirun"]),
    (["folds=5"], ["folds", "several runs", "-m"]),
    (["seeds=2"], ["seeds", "several runs", "-m"]),
    (["folds=1"], ["folds=1", "loso"]),
    (["-m", "nosuch=1,2"], ["nosuch: there is no such key"]),
    (["-m", "model.hiden_size=1,2"], ["did you mean model.hidden_size?"]),
    (["-m", "model.hiden_size=interval(1,2)"], ["did you mean model.hidden_size?"]),
    (["-m", "sweep=quick", "+hydra.sweeper.params={nosuch:'1,2'}"], ["nosuch"]),
    (["-m", "model=lstm,nosuch"], ["model=nosuch: there is no such choice"]),
    (["-m", "model.hidden_size=a,b"], ["model.hidden_size=a", "a whole number"]),
    (["-m", "optimizer.lr=interval(1,x)"], ["interval(1,x)"]),
    (["-m", "seed=1,2", "hydra.sweeper.n_trials=0"], ["n_trials=0", "at least one"]),
    (["-m", "seed=1,2", "hydra.sweeper.study='a b'"], ["'a b'", "letters, digits"]),
    (["--config-dir", "nowhere"], ["nowhere", "not found"]),
    (["hydra.run.dir=/proc/nowhere"], ["/proc/nowhere", "hydra.run.dir="]),
    (["-m", "seed=1,2", "hydra.sweep.dir=/proc/nowhere"], ["/proc/nowhere", "hydra.sweep.dir="]),
]


@pytest.mark.parametrize(("arguments", "told"), AT_ONCE, ids=[" ".join(a) for a, _ in AT_ONCE])
def test_a_command_that_cannot_be_used(tmp_path, arguments, told):
    """That torch is not imported for it, nor anything else printed, is in `test_cli`."""
    line = warm("train", *arguments, folder=tmp_path).line
    assert not [part for part in told if part not in line], line
    assert not list(tmp_path.iterdir())


FSDP = "pytorch_lightning.strategies.FSDPStrategy"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["seed=0,1", "objective.metric=val/f1"], ["objective.metric=val/f1", "val/macro_f1"]),
        (["data.batch_size=0,16"], ["data.batch_size=0", "at least 1"]),
        (["seed=0,1", "trainer=ddp"], ["trainer.strategy=ddp", "one device", "without -m"]),
        (["trainer=cpu,ddp"], ["trainer.strategy=ddp"]),
        (["seed=0,1", "trainer.strategy=ddp_spawn"], ["trainer.strategy=ddp_spawn"]),
        (
            ["seed=0,1", "~trainer.strategy", f"+trainer.strategy._target_={FSDP}"],
            [f"trainer.strategy={FSDP}"],
        ),
        (["trainer.devices=1,2"], ["trainer.devices=2", "trainer.devices=1"]),
        (["seed=0,1", "trainer.devices=[0,1]"], ["trainer.devices=[0, 1]"]),
        (["seed=0,1", "trainer.devices='0,1'"], ["trainer.devices=0,1"]),
        (["seed=0,1", "+trainer.num_nodes=2"], ["trainer.num_nodes=2"]),
    ],
)
def test_a_sweep_over_what_cannot_be_used_ends_before_its_first_trial(tmp_path, arguments, told):
    line = warm("train", "-m", "debug=fast", *arguments, folder=tmp_path).line
    assert not [part for part in told if part not in line], line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweeper_that_asks_nothing_before_ends_with_its_first_job(tmp_path):
    devices = ("trainer.accelerator=cpu", "trainer.devices=2")
    sweeper = ("hydra/sweeper=basic", "hydra/launcher=basic")
    answer = warm("train", "-m", "debug=fast", "seed=0,1", *devices, *sweeper, folder=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    last = answer.err.splitlines()[-1]  # after Hydra's own, which names the job
    assert last.startswith("trainer.devices=2: each trial of a sweep trains on one device")
    assert not list(tmp_path.rglob("checkpoints"))


IN_THE_CONFIG = [
    (["~model"], ["model", "--cfg job"]),
    (["data.window=1000"], ["1000 s", "52.36 s", "data.window"]),
    (["+callbacks.checkpoint.save_top_k=3"], ["save_top_k=3", "best.ckpt", "filename="]),
    (["data.step=0.001"], ["data.step=0.001", "at least 0.02"]),
    (["data.test=[99]"], ["data.test=[99]", "no subject 99", "[1, 2, 3,"]),
    (["data.validation=[3,98]"], ["data.validation=[3, 98]", "no subject 98"]),
    (["data.test=official"], ["data.test=official", "names no test subjects"]),
    (["data.test=2.0"], ["data.test=2.0", "between 0 and 1"]),
    (["data.cache=/proc/nowhere"], ["/proc/nowhere", "data.cache="]),
    (["data=hapt", "data.archive=gone.zip"], ["gone.zip", "data.archive"]),
    (["data=hapt", "data.root=gone"], ["gone", "data.root"]),
    (["data=uci_har", "data.archive=gone.zip"], ["gone.zip", "data.archive"]),
    (["data=hapt", "data.archive=cut.zip"], ["cut.zip", "not a complete zip file"]),
    (["data=uci_har", "data.archive=other.zip"], ["other.zip", "data=hapt"]),
    (["data=hapt", "data.archive=notes.zip"], ["notes.zip"]),
    (["model.pooling=max"], ["pooling=max", "last, mean or attention"]),
    (
        ["model._target_=harnest.har.networks.lstm.GRU"],
        ["harnest.har.networks.lstm.GRU", "importable"],
    ),
    (["model._target_=mylab.Net"], ["mylab.Net", "HARNEST_TRUST=mylab"]),
    (["+callbacks.x._target_=os.system"], ["os.system", "may not call"]),
    (["+model.depth=3"], ["LSTM", "depth"]),
    (["+optimizer.depth=3"], ["optimizer", "depth"]),
    (["optimizer=sgd", "optimizer.momentum=0"], ["optimizer", "Nesterov"]),
    (["scheduler=step", "+scheduler.depth=3"], ["scheduler", "depth"]),
    (["trainer.precision=12"], ["Trainer", "Precision 12"]),
    (["trainer.limit_train_batches=1.5"], ["limit_train_batches", "1.5"]),
    (["debug=limit", "data.batch_size=512"], ["0.1 * 3 < 1", "`limit_train_batches`"]),
    (["resume=bad.ckpt"], ["bad.ckpt", "not a readable checkpoint"]),
    (["resume=other.ckpt"], ["other.ckpt", "another architecture"]),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with archives and checkpoints that are not what is wanted."""
    folder = tmp_path_factory.mktemp("place")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("RawData/labels.txt", "1 1 5 250 1232\n" * 1000)
    (folder / "cut.zip").write_bytes((folder / "other.zip").read_bytes()[:-30])
    with zipfile.ZipFile(folder / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    (folder / "bad.ckpt").write_bytes(b"cut short")
    torch.save({"state_dict": {"network.conv.weight": torch.zeros(3)}}, folder / "other.ckpt")
    return folder


@pytest.mark.xdist_group("bad input")
@pytest.mark.parametrize(
    ("arguments", "told"), IN_THE_CONFIG, ids=[" ".join(a) for a, _ in IN_THE_CONFIG]
)
def test_a_config_that_cannot_be_used(place, arguments, told):
    before = {path.name for path in place.iterdir()}
    line = warm("train", "logger=none", *arguments, folder=place).line
    assert not [part for part in told if part not in line], line
    assert {path.name for path in place.iterdir()} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(tmp_path):
    assert "gpu" in warm("train", "logger=none", "trainer=gpu", folder=tmp_path).line


def test_a_folder_where_nothing_can_be_written(tmp_path):
    (tmp_path / "outputs").write_text("a file in the way")
    line = command("train", "logger=none", folder=tmp_path).line
    assert "outputs" in line
    assert "hydra.run.dir=" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("window: [2.0", "did not find expected"),
        ("window: 2.0\n\tstep: 1.0", "found a tab"),
        ("step: 1.0\nstep: 2.0", "found duplicate key step"),
        ("defaults: [{a: b, c: d}]", "Too many keys in default item"),
    ],
)
def test_a_config_of_ones_own_that_is_no_config(tmp_path, text, told):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text(text)
    line = command("train", "--config-dir", str(tmp_path), "data=mine", folder=tmp_path).line
    assert told in line
    assert "mine" in line


@pytest.mark.parametrize("many", [[], ["-m", "seed=1,2"]])
def test_a_password_in_a_config_of_ones_own_is_told_before_it_is_written(tmp_path, many):
    (tmp_path / "logger").mkdir()
    address = "tracking_uri: http://me:hunter2@127.0.0.1:1"
    text = f"defaults: [mlflow]\nmlflow: {{{address}}}\n"
    (tmp_path / "logger" / "mine.yaml").write_text(text)
    place = tmp_path / "place"
    place.mkdir()
    answer = command("train", "--config-dir", str(tmp_path), "logger=mine", *many, folder=place)
    assert answer.line.startswith("logger.mlflow.tracking_uri: ")
    assert "${oc.env:NAME}" in answer.line
    assert "hunter2" not in answer.line
    assert list(place.iterdir()) == []


def test_a_file_that_a_run_does_not_find_is_told_as_it_is(tmp_path):
    (tmp_path / "thin.py").write_text("def lstm(**_):\n    open('/nowhere/weights')\n")
    theirs = {"PYTHONPATH": str(tmp_path), "HARNEST_TRUST": "thin"}
    options = ("logger=none", "model._target_=thin.lstm")
    answer = warm("train", *options, folder=tmp_path, **theirs)
    assert answer.line == "/nowhere/weights: No such file or directory"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("where", [".", "..", "../kept"])
def test_a_refused_run_removes_nothing_that_was_there(tmp_path, where):
    place, kept = tmp_path / "place", tmp_path / "kept" / "other.log"
    place.mkdir()
    kept.parent.mkdir()
    kept.write_text("from another day")
    answer = command("train", "resume=nowhere.ckpt", f"hydra.run.dir={where}", folder=place)
    assert "resume=nowhere.ckpt" in answer.line
    assert place.is_dir()
    assert kept.is_file()


def test_a_run_that_is_refused_in_its_own_folder_leaves_none(tmp_path):
    options = ("resume=nowhere.ckpt", "hydra.job.chdir=true")
    assert "resume=nowhere.ckpt" in command("train", *options, folder=tmp_path).line
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_refused_is_not_recorded(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    line = warm("train", "resume=other.ckpt", folder=tmp_path).line
    assert "another architecture" in line
    assert not (tmp_path / "outputs").exists()
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert client.search_runs(experiments) == []


@pytest.fixture(scope="module")
def warmed(tmp_path_factory):
    """All is imported before time is taken: on a busy machine that takes as long as it likes."""
    assert warm("train", "--help", folder=tmp_path_factory.mktemp("warmed")).code == 0


@pytest.fixture
def silent_server(warmed):
    """A port that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def other_server():
    """A web server that is not MLflow."""

    class NotFound(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def do_POST(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_server_that_does_not_answer_is_named(tmp_path, silent_server):
    address = f"logger.mlflow.tracking_uri={silent_server}"
    line = warm("train", address, folder=tmp_path).line
    assert silent_server in line
    assert "logger=csv" in line
    assert not list(tmp_path.iterdir())


def test_a_sweep_finds_out_too(tmp_path, silent_server):
    address = f"logger.mlflow.tracking_uri={silent_server}"
    answer = warm("train", "-m", "seed=0,1", address, folder=tmp_path)
    assert answer.code == 2
    assert "trial" not in answer.out.partition("\n")[2]
    (line,) = answer.err.splitlines()
    assert silent_server in line
    assert not list(tmp_path.rglob("multirun/*"))


def test_a_server_that_is_not_there(tmp_path):
    address = "http://127.0.0.1:9"
    line = warm("train", f"logger.mlflow.tracking_uri={address}", folder=tmp_path).line
    assert address in line
    assert "does not answer" in line
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_one_of_mlflow(tmp_path, other_server):
    line = warm("train", f"logger.mlflow.tracking_uri={other_server}", folder=tmp_path).line
    assert other_server in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("./mlruns", ["./mlruns", "sqlite:///FILE"]),
        ("sqlite:////nowhere/mlflow.db", ["/nowhere", "does not exist"]),
    ],
)
def test_a_store_that_cannot_be_used(tmp_path, address, told):
    line = warm("train", f"logger.mlflow.tracking_uri={address}", folder=tmp_path).line
    assert not [part for part in told if part not in line], line
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("warmed")
def test_a_data_set_that_has_to_be_downloaded_and_cannot(tmp_path):
    """With no network the line names the address, the file to fetch by hand and the option."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    answer = warm(
        "train",
        *("logger=none", "data=hapt"),
        folder=tmp_path,
        HARNEST_CACHE=str(tmp_path / "cache"),
        **nowhere,
        **{name.lower(): address for name, address in nowhere.items()},
    )
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1, answer
    assert re.search(r"https?://\S+", answer.err)
    assert "data.archive=" in answer.err
    assert not (tmp_path / "outputs").exists()


def test_secrets_of_a_refused_address_are_not_shown(tmp_path):
    address = "http://me:hunter2@127.0.0.1:9"
    line = warm("train", f"logger.mlflow.tracking_uri={address}", folder=tmp_path).line
    assert "hunter2" not in line
    assert "127.0.0.1:9" in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], ["nowhere", "neither"]),
        (["."], ["not a run directory"]),
    ],
)
def test_a_run_to_evaluate_that_is_not_there(tmp_path, arguments, told):
    line = warm("evaluate", *arguments, folder=tmp_path).line
    assert not [part for part in told if part not in line], line


def test_nothing_to_compare(tmp_path):
    assert "train something first" in warm("compare", folder=tmp_path).line
