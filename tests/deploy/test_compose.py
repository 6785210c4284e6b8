"""docker-compose.yml: against the Compose specification, and its parts against each other and for real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.conftest import in_front
from tests.deploy.dockerfile import ROOT
from tests.deploy.proxies import DEPLOY, binary
from tests.e2e.clients import Client, assert_same, source, tuspy
from tests.mongod import Node, ReplicaSet
from tusserver.settings import Settings, unknown_variables

MIB = 1024 * 1024
COMPOSE = ROOT / "docker-compose.yml"
PODS = ["tusserver-1", "tusserver-2", "tusserver-3"]
NODES = ["mongo-1", "mongo-2", "mongo-3"]
SCRIPT = DEPLOY / "mongo" / "replica_set.py"


def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"])


def test_it_fits_the_compose_specification() -> None:
    program = binary("check-jsonschema", "pip install check-jsonschema")
    subprocess.run([program, "--quiet", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)], check=True)


def test_what_it_mounts_and_needs_is_there() -> None:
    known = services()
    for service in known.values():
        assert set(service.get("depends_on", [])) <= set(known)
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source


def test_its_settings_are_known_and_fit() -> None:
    for pod in PODS:
        said = services()[pod]["environment"]
        assert unknown_variables(said) == []
        given = {name.removeprefix("TUSSERVER_").lower(): value for name, value in said.items()}
        assert Settings(**given).sessions == "mongodb:"


def test_nginx_passes_to_its_tusservers_at_the_port_that_is_published() -> None:
    conf = (DEPLOY / "nginx" / "tusserver.conf").read_text(encoding="utf-8")
    assert re.findall(r"^\s*server (\S+):1080", conf, re.MULTILINE) == PODS
    assert [mapping.split(":")[1] for mapping in services()["nginx"]["ports"]] == re.findall(r"listen (\d+);", conf)
    assert sorted(services()["nginx"]["depends_on"]) == PODS
    # nobody has to come back to the same server
    assert not re.search(r"ip_hash|hash |sticky", conf)


def test_its_replica_set_is_that_of_its_nodes() -> None:
    known = services()
    name, *members = known["mongo-init"]["entrypoint"][2:]
    assert [member.split(":")[0] for member in members] == NODES
    assert {known[node]["command"][known[node]["command"].index("--replSet") + 1] for node in NODES} == {name}
    urls = {known[pod]["environment"]["MONGO_URL"] for pod in PODS}
    assert urls == {f"mongodb://{','.join(members)}/?replicaSet={name}"}


def test_three_nodes_become_a_replica_set_once(tmp_path: Path) -> None:
    nodes = [Node(tmp_path / f"node-{number}", "rs0") for number in (1, 2, 3)]
    command = [sys.executable, str(SCRIPT), "rs0", *(node.address for node in nodes)]
    try:
        for node in nodes:
            node.start()
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, timeout=90)
            assert (done.returncode, done.stderr) == (0, "")
            assert re.fullmatch(r"rs0: \S+ is the primary\n", done.stdout)
        status = nodes[0].says("replSetGetStatus")
        assert status is not None
        assert len(status["members"]) == 3
    finally:
        for node in nodes:
            node.stop()


def test_what_is_composed_takes_an_upload(tmp_path: Path) -> None:
    path = source(tmp_path, 2 * MIB + 17)
    database = ReplicaSet(tmp_path / "mongo", nodes=3)
    said = services()["tusserver-1"]["environment"]
    settings = {
        "sessions": "mongodb:",
        "db_name": said["DB_NAME"],
        "storage": said["TUSSERVER_STORAGE"],
        "trusted_proxies": said["TUSSERVER_TRUSTED_PROXIES"],
    }
    try:
        database.start()
        with in_front("nginx", tmp_path, mongo_url=database.url, **settings) as proxy:
            job = {"url": proxy.url, "path": str(path), "options": {"chunk_size": 200_000}}
            with Client(tuspy(), job) as client:
                url = client.finish()
            assert url.startswith(proxy.url)
            for pod in proxy.pods:
                assert_same(pod, url, path)
            assert proxy.pods[0].held() == []
    finally:
        database.stop()
