"""The stack's files, as they stand: valid, pinned, closed, and the same settings everywhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from compose import ROOT, MissingError, interpolated, raw, settings, stack
from images import FILE, stages, steps

EXAMPLE = (ROOT / ".env.example").read_text()
OWN = settings(EXAMPLE)
SECRETS = [name for name, value in OWN.items() if not value]
GIVEN = OWN | dict.fromkeys(SECRETS, "s3cr3t")
COMPOSE = (ROOT / "docker/compose.yaml").read_text()
SERVERS = {
    name: service for name, service in stack(GIVEN)["services"].items() if "trainer" not in name
}


def program(name, *arguments):
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_hadolint():
    program("hadolint", FILE)


@pytest.mark.parametrize("given", [None, GIVEN], ids=["as it stands", "interpolated"])
def test_the_compose_file_fits_the_compose_specification(given, tmp_path):
    file = tmp_path / "compose.json"
    file.write_text(json.dumps(raw() if given is None else stack(given)))
    program("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))


def test_every_image_is_pinned_by_a_full_version():
    made_here = stages()
    foreign = [before for before, _ in made_here.values() if before not in made_here]
    assert len(foreign) >= 2
    for image in foreign:
        assert re.fullmatch(r"\w+:\d+\.\d+\.\d+(-[\w-]+)?", image), image
    for service in stack(GIVEN)["services"].values():
        assert service["build"]["target"] in made_here


def test_everything_is_installed_from_the_constraints():
    installed = [
        words
        for stage in made_images()
        for words in steps(stage)
        if words[1:3] == ["pip", "install"]
    ]
    assert installed
    for words in installed:
        at = words.index("--constraint")
        assert words[at + 1] == "constraints.txt"


def made_images():
    return {service["build"]["target"] for service in stack(GIVEN)["services"].values()}


def test_nothing_runs_as_root():
    for stage in made_images() - {"database"}:
        users = [words[1] for words in stages()[stage][1] if words[0] == "USER"]
        assert users == ["1000"], stage
    for name, service in stack(GIVEN)["services"].items():
        assert service.get("user") == ("mysql" if name == "database" else None), name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_no_container_reads_a_file_with_the_mode_that_it_has_in_the_checkout():
    """Under umask 077 that mode is closed to the container's user."""
    for name, service in stack(GIVEN)["services"].items():
        mounted = {mount.split(":")[0] for mount in service.get("volumes", [])}
        assert not any((ROOT / "docker" / source).is_file() for source in mounted), name
    for stage in made_images():
        for words in stages()[stage][1]:
            if words[0] == "COPY" and not words[1].startswith("--from="):
                executable = (ROOT / words[2]).stat().st_mode & 0o100
                assert words[1] == f"--chmod={'755' if executable else '644'}", words


def test_the_database_keeps_no_binary_log():
    assert stack(GIVEN)["services"]["database"]["command"] == ["--skip-log-bin"]


def test_a_port_is_open_to_others_only_where_that_is_asked_for():
    for bound in ("127.0.0.1", "0.0.0.0"):
        services = stack(GIVEN | ({} if bound == "127.0.0.1" else {"BIND_ADDRESS": bound}))
        ports = {
            name: port.rpartition(":")[0].rpartition(":")[0]
            for name, service in services["services"].items()
            for port in service.get("ports", [])
        }
        closed = ports.pop("dashboard")
        assert closed == "127.0.0.1"  # it asks for no password
        assert set(ports) == {"database", "mlflow", "jupyter", "jupyter-gpu"}
        assert set(ports.values()) == {bound}


def test_each_server_says_how_it_is_and_comes_back_by_itself():
    for name, service in SERVERS.items():
        assert service["restart"] == "unless-stopped", name
        health = service["healthcheck"]
        assert health["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries", "start_period"} < set(health), name
        for waits in service.get("depends_on", {}).values():
            assert waits == {"condition": "service_healthy"}


def test_what_is_kept_is_kept_in_named_volumes():
    services = stack(GIVEN)["services"]
    kept = [mount.split(":")[0] for s in services.values() for mount in s.get("volumes", [])]
    folders = {name for name in kept if name.startswith(".")}
    assert {name for name in kept if name not in folders} == set(stack(GIVEN)["volumes"])
    for name in folders:
        assert (ROOT / "docker" / name).exists()


def test_gpus_are_for_their_profile_alone():
    for name, service in stack(GIVEN)["services"].items():
        has_gpu = "deploy" in service
        assert has_gpu == (service.get("profiles") == ["gpu"]), name
        assert has_gpu == name.endswith("-gpu")
        if has_gpu:
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
            assert "pypi.org" in service["build"]["args"]["TORCH_INDEX"]


def test_the_example_of_an_environment_has_every_setting_and_no_other():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE)) | {"COMPOSE_FILE"}
    first, second = re.split(r"^# ---- harnest -*$", EXAMPLE, flags=re.MULTILINE)
    assert set(re.findall(r"^#?(\w+)=", first, re.MULTILINE)) == used
    ours = set(re.findall(r"^#(\w+)=", second, re.MULTILINE))
    texts = [
        file.read_text()
        for place in ("src", "conf")
        for file in (ROOT / place).rglob("*.*")
        if file.suffix in (".py", ".yaml")
    ]
    elsewhere = {"HYDRA_FULL_ERROR"}  # Hydra's own
    assert {name for name in ours if any(name in text for text in texts)} | elsewhere == ours
    assert settings(second) == {}


def test_every_setting_is_explained():
    lines = EXAMPLE.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"#?\w+=", line):
            assert before.startswith("#") or re.match(r"#?\w+=", before), line


def test_no_secret_has_a_default():
    assert {"JUPYTER_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MYSQL_ROOT_PASSWORD"} < set(SECRETS)
    for name in SECRETS:
        ways = set(re.findall(rf"\$\{{{name}(:\?)?", COMPOSE))
        assert ways == {":?"}, name
        with pytest.raises(MissingError, match=name):
            stack(GIVEN | {name: ""})
    named = set(re.findall(r"\$\{(\w+_(?:PASSWORD|TOKEN|KEY))", COMPOSE))
    assert named == set(SECRETS)


def test_only_what_images_are_made_of_is_sent_to_the_engine():
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        name
        for stage in made_images()
        for words in steps(stage)
        if words[0] == "COPY"
        for name in words[1:-1]
    }
    assert kept == copied


@pytest.mark.parametrize("name", ["MLFLOW_DATABASE_PASSWORD", "STUDY_PASSWORD"])
@pytest.mark.parametrize("password", ["", "it's", "a/b", "a b"])
def test_a_password_that_would_break_an_address_makes_no_database(name, password):
    given = GIVEN | {name: password, "PATH": "/usr/bin:/bin"}
    script = ROOT / "docker/databases.sh"
    done = subprocess.run([script], env=given, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{name} becomes part of an address" in done.stderr


def test_make_writes_an_environment_with_passwords_of_its_own(tmp_path):
    written = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / ".env.example").write_text(EXAMPLE)
        made = ["make", "--file", ROOT / "Makefile", "--directory", folder, ".env"]
        subprocess.run(made, check=True, capture_output=True)
        file = folder / ".env"
        assert file.stat().st_mode & 0o077 == 0
        written.append(settings(file.read_text()))
        before = file.read_text()
        subprocess.run(made, check=True, capture_output=True)
        assert file.read_text() == before
    stack(written[0])  # nothing is missing
    assert {name: value for name, value in written[0].items() if name not in SECRETS} == {
        name: value for name, value in OWN.items() if value
    }
    secrets = [each[name] for each in written for name in SECRETS]
    assert len(set(secrets)) == len(secrets) == 2 * len(SECRETS)
    assert all(len(secret) >= 32 for secret in secrets)


def test_variables_are_read_as_compose_reads_them():
    given = {"A": "x", "EMPTY": ""}
    assert interpolated("${A} ${A:-y} ${NONE:-y} ${EMPTY:-y} $$A", given) == "x x y y $A"
