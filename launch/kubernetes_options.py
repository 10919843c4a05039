"""What a cluster of Kubernetes must be told of a launch; the names are those of the command line."""

import re
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

import tyro

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # of DNS: RFC 1123
TOLERATION = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^=:]*))?(:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute))?")
RESOURCE = {"gpu": "nvidia.com/gpu", "tpu": "google.com/tpu"}
NODE_LABEL = {"gpu": "cloud.google.com/gke-accelerator", "tpu": "cloud.google.com/gke-tpu-accelerator"}
TOPOLOGY_LABEL = "cloud.google.com/gke-tpu-topology"


def _option(name: str, meaning: str) -> object:
    """Named in full: a study may have a parameter of the same name."""
    return tyro.conf.arg(name=f"kubernetes.{name}", prefix_name=False, help=meaning)


@dataclass(frozen=True, kw_only=True)
class KubernetesOptions:
    """With --on kubernetes; what is not given is the cluster's default."""

    image: Annotated[str, _option("image", "Container image with `scaling` in it")] = ""
    claim: Annotated[str, _option("claim", "Persistent volume claim that is ROOT; every pod mounts it as /lab")] = ""
    namespace: Annotated[str, _option("namespace", "Of the JobSets")] = "default"
    accelerator: Annotated[Literal["gpu", "tpu", "none"], _option("accelerator", "What runs are trained on")] = "gpu"
    devices: Annotated[int, _option("devices", "Accelerators of each node: GPUs, or TPU chips")] = 1
    nodes: Annotated[int, _option("nodes", "That one run takes, with one pod each")] = 1
    cpus: Annotated[int | None, _option("cpus", "That each pod asks for; None: the cluster's default")] = None
    memory: Annotated[
        str | None, _option("memory", "That each pod asks for, such as 64G; None: the cluster's default")
    ] = None
    label: Annotated[
        str,
        _option(
            "label", "Which accelerator: a value of GKE's node label, or KEY=VALUE of a cluster with labels of its own"
        ),
    ] = ""
    topology: Annotated[str, _option("topology", "Of a TPU slice, such as 4x4")] = ""
    service_account: Annotated[str, _option("service-account", "That pods run as")] = ""
    priority_class: Annotated[str, _option("priority-class", "Of the pods")] = ""
    tolerations: Annotated[
        tuple[str, ...], _option("tolerations", "Taints to put up with, each KEY[=VALUE][:EFFECT]")
    ] = ()
    at_once: Annotated[
        int | None,
        _option("at-once", "Runs under way at the same time, at most; the others are created suspended. None: all"),
    ] = None
    apply: Annotated[bool, _option("apply", "Hand the manifests to kubectl, not only write them")] = False
    store: tyro.conf.Suppress[str] = ""  # URL of the object store that is the lab, given by --store

    def __post_init__(self) -> None:
        for name in ("claim", "namespace", "priority_class", "service_account"):
            value = getattr(self, name)
            if value and not all(LABEL.fullmatch(part) for part in value.split(".")):
                _refuse(name, value, "is no name of Kubernetes; use lower-case letters, digits and -")
        for name in ("devices", "nodes", "cpus", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                _refuse(name, value, "must be positive")
        if self.memory is not None and not re.fullmatch(r"\d+([MGT]i?)?", self.memory):
            _refuse("memory", self.memory, "is no amount; give bytes, or a number with M, G or T")
        if self.accelerator == "none" and self.label and "=" not in self.label:
            _refuse("label", self.label, "names no key, and none is known without an accelerator; give KEY=VALUE")
        for text in self.tolerations:
            if not TOLERATION.fullmatch(text):
                _refuse("tolerations", text, "is no KEY[=VALUE][:EFFECT], with NoSchedule or NoExecute for EFFECT")
        self._check_topology()

    def _check_topology(self) -> None:
        if self.accelerator != "tpu":
            if self.topology:
                _refuse("topology", self.topology, f"is of TPUs, but accelerator={self.accelerator}")
            return
        if not re.fullmatch(r"\d+x\d+(x\d+)?", self.topology):
            _refuse("topology", self.topology, "is no topology of a TPU slice; give one such as 2x4 or 2x2x4")
        if not self.label:
            _refuse("label", "", "is needed for TPUs; give the node pool's, such as tpu-v5-lite-podslice")
        chips = prod(map(int, self.topology.split("x")))
        if chips != self.nodes * self.devices:
            _refuse("topology", self.topology, f"has {chips} chips, not {self.nodes} nodes x {self.devices} devices")

    def check_given(self) -> None:
        """Raise ValueError for what has no default that could be right."""
        for name in ("image",) if self.store else ("image", "claim"):
            if not getattr(self, name):
                _refuse(name, "", "is needed: pods have neither the code nor the lab without it")
        if self.store and (self.claim or self.nodes > 1):
            name = "claim" if self.claim else "nodes"
            why = "a pod's folder is scratch there, and no other pod sees it"
            _refuse(name, getattr(self, name), f"does not go with --store {self.store}: {why}")

    def devices_of_a_run(self, otherwise: int) -> int:
        """All of its nodes together; of one node without accelerators `otherwise`, which its CPU pretends to be."""
        if self.accelerator == "none":
            return self.nodes if self.nodes > 1 else otherwise
        return self.nodes * self.devices

    @property
    def node_selector(self) -> dict[str, str]:
        """Labels of the nodes to run on."""
        selector = {TOPOLOGY_LABEL: self.topology} if self.topology else {}
        if self.label:
            key, _, value = self.label.rpartition("=")
            selector[key or NODE_LABEL[self.accelerator]] = value
        return dict(sorted(selector.items()))

    @property
    def resources(self) -> dict[str, Any]:
        """Of one pod. Accelerators are limits; what is asked for beside them are requests."""
        given = {"cpu": self.cpus, "memory": self.memory}
        asked = {name: value for name, value in given.items() if value is not None}
        devices = {RESOURCE[self.accelerator]: self.devices} if self.accelerator != "none" else {}
        return {name: values for name, values in (("limits", devices), ("requests", asked)) if values}

    @property
    def parsed_tolerations(self) -> list[dict[str, str]]:
        found = [TOLERATION.fullmatch(text).groupdict() for text in self.tolerations]
        return [
            {name: value for name, value in {"operator": _operator(one), **one}.items() if value is not None}
            for one in found
        ]


def _operator(toleration: dict[str, str | None]) -> str:
    return "Exists" if toleration["value"] is None else "Equal"


def _refuse(name: str, value: object, why: str) -> None:
    raise ValueError(f"--kubernetes.{name.replace('_', '-')} {value!r} {why}")
