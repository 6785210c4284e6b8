"""The Kubernetes manifests as kustomize puts them together, for as much of kustomize as they use."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.proxies import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
Manifest = dict[str, Any]


def rendered(components: list[Path]) -> list[Manifest]:
    """The base with these components."""
    found = _resources(KUBERNETES / "base")
    for component in components:
        found += _resources(component)
        for patch in _kustomization(component).get("patches", []):
            targets = [each for each in found if _is(each, patch["target"])]
            assert targets, patch["target"]
            for target in targets:
                _change(target, yaml.safe_load(patch["patch"]))
    return found


def components() -> list[Path]:
    """All components that are there."""
    return sorted(path.parent for path in (KUBERNETES / "components").glob("*/kustomization.yaml"))


def the(kind: str, manifests: list[Manifest]) -> Manifest:
    """The one manifest of this kind."""
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def _kustomization(directory: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((directory / "kustomization.yaml").read_text(encoding="utf-8")))


def _resources(directory: Path) -> list[Manifest]:
    names = _kustomization(directory)["resources"]
    assert sorted([*names, "kustomization.yaml"]) == sorted(path.name for path in directory.iterdir())
    return [yaml.safe_load((directory / name).read_text(encoding="utf-8")) for name in names]


def _is(manifest: Manifest, target: dict[str, str]) -> bool:
    return (manifest["kind"], manifest["metadata"]["name"]) == (target["kind"], target["name"])


def _change(manifest: Manifest, operations: list[dict[str, Any]]) -> None:
    """Apply operations of a JSON patch (RFC 6902): add, replace, remove. Raises KeyError where a path leads nowhere."""
    for operation in operations:
        *way, last = operation["path"].split("/")[1:]
        place: Any = manifest
        for name in way:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if isinstance(place, list):
            assert (operation["op"], last) == ("add", "-")
            place.append(copy.deepcopy(operation["value"]))
        elif operation["op"] == "remove":
            del place[last]
        else:
            assert (last in place) == (operation["op"] == "replace")
            place[last] = copy.deepcopy(operation["value"])
