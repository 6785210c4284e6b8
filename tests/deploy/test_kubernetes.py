"""The Kubernetes manifests: against Kubernetes' own schemas, strictly, and against each other and the settings."""

from __future__ import annotations

import re
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.dockerfile import ROOT, only
from tests.deploy.manifests import KUBERNETES, Manifest, components, rendered, the
from tusserver.settings import WELL_KNOWN, Settings, unknown_variables

VERSIONS = ["1.31", "1.37"]
CUSTOM = {"HTTPRoute"}
CHOICES = list(chain.from_iterable(combinations(components(), count) for count in range(len(components()) + 1)))
EXAMPLE: Manifest = yaml.safe_load((KUBERNETES / "secret.example.yaml").read_text(encoding="utf-8"))


def pod_of(manifest: Manifest) -> dict[str, Any]:
    spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
    return dict(spec["template"]["spec"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_its_schema(version: str) -> None:
    manifests = [*rendered([]), *rendered(components()), EXAMPLE]
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_would_be_noticed() -> None:
    wrong = the("Service", rendered([]))
    wrong["spec"]["sesionAffinity"] = "None"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: "+".join(path.name for path in chosen) or "base")
def test_any_choice_of_components_fits_together(chosen: tuple[Path, ...]) -> None:
    manifests = rendered(list(chosen))
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(names) == len(set(names))
    for pod in (pod_of(the("Deployment", manifests)), pod_of(the("CronJob", manifests))):
        [container] = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_what_can_be_chosen_is_named() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    assert sorted(re.findall(r"- components/(\S+)", text)) == [path.name for path in components()]


def test_labels_select_the_pods() -> None:
    manifests = rendered(components())
    deployment = the("Deployment", manifests)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert the("Service", manifests)["spec"]["selector"] == labels
    assert the("PodDisruptionBudget", manifests)["spec"]["selector"]["matchLabels"] == labels
    assert the("NetworkPolicy", manifests)["spec"]["podSelector"]["matchLabels"] == labels
    assert the("CronJob", manifests)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] != labels


def test_routes_lead_to_the_service() -> None:
    manifests = rendered(components())
    service = the("Service", manifests)
    [port] = service["spec"]["ports"]
    [container] = pod_of(the("Deployment", manifests))["containers"]
    assert port["targetPort"] in [each["name"] for each in container["ports"]]
    paths = the("Ingress", manifests)["spec"]["rules"][0]["http"]["paths"]
    for path in paths:
        assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
    [rule] = the("HTTPRoute", manifests)["spec"]["rules"]
    outward = [("Exact", "/"), ("Prefix", "/page"), ("Prefix", "/files")]
    assert [(path["pathType"], path["path"]) for path in paths] == outward
    named = [(match["path"]["type"].removeprefix("Path"), match["path"]["value"]) for match in rule["matches"]]
    assert named == outward
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    outside = the("ConfigMap", manifests)["data"]["TUSSERVER_PUBLIC_URL"]
    assert outside == f"https://{the('Ingress', manifests)['spec']['rules'][0]['host']}"


@pytest.mark.parametrize("chosen", [[], components()], ids=["base", "all"])
def test_settings_are_known_and_fit(chosen: list[Path]) -> None:
    said = {**the("ConfigMap", rendered(chosen))["data"], **EXAMPLE["stringData"]}
    assert unknown_variables(said) == []
    given = {name.removeprefix("TUSSERVER_").lower(): value for name, value in said.items()}
    assert all(name.startswith("TUSSERVER_") or name.lower() in WELL_KNOWN for name in said)
    assert Settings(**given).sessions == "mongodb:"


def test_pods_are_restricted_and_have_time_to_end() -> None:
    manifests = rendered(components())
    for kind in ("Deployment", "CronJob"):
        pod = pod_of(the(kind, manifests))
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert str(pod["securityContext"]["runAsUser"]) == only("USER").said.partition(":")[0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    pod = pod_of(the("Deployment", manifests))
    waited = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waited + float(Settings().shutdown_timeout) + 10


def test_the_autoscaler_alone_says_how_many() -> None:
    [autoscaling] = [path for path in components() if path.name == "autoscaling"]
    assert the("Deployment", rendered([]))["spec"]["replicas"] == 3
    assert "replicas" not in the("Deployment", rendered([autoscaling]))["spec"]


def test_yamllint_has_nothing_to_say() -> None:
    from yamllint import linter
    from yamllint.config import YamlLintConfig

    rules = "{line-length: {max: 120}, document-start: disable, comments: {min-spaces-from-content: 1}}"
    config = YamlLintConfig(f"{{extends: default, rules: {rules}}}")
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*.yml"), *(ROOT / "deploy").rglob("*.yaml")]
    problems = [(path.name, str(each)) for path in files for each in linter.run(path.read_text("utf-8"), config)]
    assert problems == []
