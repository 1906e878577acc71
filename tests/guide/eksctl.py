"""The commands of eksctl's that docs/install.md has, with the options that it takes for them."""

from dataclasses import dataclass

import yaml

from lab.ec2.elastic import border_group
from lab.ec2.server import REGION
from tests.guide.cloud import ZONES, EksCluster, Object
from tests.guide.cluster import Cluster
from tests.guide.desk import Call, Refused, given, parse


@dataclass
class Eksctl:
    """Works on one cluster, or makes it."""

    cluster: Cluster

    def __call__(self, call: Call) -> str:
        """Do what the command line says.  Raises Refused."""
        match call.words:
            case ["create", "cluster", *rest]:
                _, options = parse(rest, needs=["-f"], flags=["--without-nodegroup"])
                config = yaml.safe_load(given(options["-f"], call))
                self._create(config)
                if "--without-nodegroup" not in options:
                    self._create_groups(config)
                self.cluster.write_kubeconfig(call)
            case ["create", "nodegroup", *rest]:
                _, options = parse(rest, needs=["-f"])
                config = yaml.safe_load(given(options["-f"], call))
                self._known(config["metadata"]["name"])
                self._create_groups(config)
            case ["create", "podidentityassociation", *rest]:
                needs = ["--cluster", "--namespace", "--service-account-name", "--permission-policy-arns"]
                _, options = parse(rest, needs=needs)
                if "eks-pod-identity-agent" not in self._known(options["--cluster"]).addons:
                    raise Refused("nothing gives pods their role: the add-on eks-pod-identity-agent is not there")
                account = f"{options['--namespace']}/{options['--service-account-name']}"
                self.cluster.give_role(account, options["--permission-policy-arns"])
            case ["create", "iamserviceaccount", *rest]:
                needs = ["--cluster", "--namespace", "--name", "--attach-policy-arn"]
                _, options = parse(rest, needs=needs, flags=["--approve"])
                if not self._known(options["--cluster"]).oidc:
                    raise Refused("no IAM OIDC provider associated with cluster")
                if "--approve" not in options:
                    raise Refused("no changes were applied, run again with '--approve'")
                self.cluster.objects["ServiceAccount", options["--name"]] = {}
                self.cluster.give_role(f"{options['--namespace']}/{options['--name']}", options["--attach-policy-arn"])
            case ["delete", "podidentityassociation", *rest]:
                _, options = parse(rest, needs=["--cluster", "--namespace", "--service-account-name"])
                self._known(options["--cluster"])
                self.cluster.take_role(f"{options['--namespace']}/{options['--service-account-name']}")
            case ["delete", "iamserviceaccount", *rest]:
                _, options = parse(rest, needs=["--cluster", "--namespace", "--name"], flags=["--wait"])
                self._known(options["--cluster"])
                self.cluster.take_role(f"{options['--namespace']}/{options['--name']}")
            case ["delete", "cluster", *rest]:
                _, options = parse(rest, needs=["--name"], flags=["--wait"])
                self._known(options["--name"])
                del self.cluster.cloud.clusters[options["--name"]]
            case _:
                raise Refused(f"unknown command {call.words}")
        return ""

    def _known(self, name: str) -> EksCluster:
        if name not in self.cluster.cloud.clusters:
            raise Refused(f"there is no cluster {name}")
        return self.cluster.cloud.clusters[name]

    def _create(self, config: Object) -> None:
        metadata = config["metadata"]
        if metadata["region"] != REGION or not metadata["version"]:
            raise Refused(f"not here: {metadata}")
        if unknown := set(config.get("availabilityZones", [])) - set(ZONES):
            raise Refused(f"no such zone: {unknown}")
        for zone in config.get("localZones", []):
            if border_group(zone) not in self.cluster.cloud.opted_in:
                raise Refused(f"the account has not opted in to {zone}")
        addons = {addon["name"]: addon.get("configurationValues", "") for addon in config["addons"]}
        oidc = config.get("iam", {}).get("withOIDC", False)
        self.cluster.create(metadata["name"], EksCluster(addons=addons, oidc=oidc))

    def _create_groups(self, config: Object) -> None:
        for group in config.get("managedNodeGroups", []) + config.get("nodeGroups", []):
            [place] = group.get("availabilityZones") or group.get("localZones") or [group["outpostARN"]]
            if place not in self.cluster.cloud.subnets:
                raise Refused(f"there is no {place}")
            self.cluster.add_group(place, dict(group["labels"]))
