"""What stands around the pods: policies, budgets, scaling, routes, monitoring, jobs; and what the chart refuses."""

from __future__ import annotations

import ipaddress

import jsonschema
import pytest
import yaml

from tests.chart.crds import SCHEMAS
from tests.support import chart

BASE = ("--values", chart.CHART / "ci" / "minimal-values.yaml")


def of_kind(found: list[chart.Object], kind: str) -> dict[str, chart.Object]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def changed(*sets: str) -> list[chart.Object]:
    return chart.objects(chart.template(*BASE, *(part for each in sets for part in ("--set", each))))


@pytest.fixture(autouse=True)
def _helm(render) -> None:
    """Skipped where there is no Helm."""


# --- network policies ---


@pytest.mark.parametrize("case", ["minimal", "medium", "large", "two-pds", "upgrade"])
def test_every_pod_is_under_a_policy_for_both_directions(case: str, render) -> None:
    found = chart.objects(render(case))
    policies = [each["spec"] for each in of_kind(found, "NetworkPolicy").values()]
    covered = {policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for policy in policies}
    pods = [each if each["kind"] == "Pod" else each.get("spec", {}).get("template", {}) for each in found]
    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods if "metadata" in pod}

    assert components == covered >= {"pds", "setup", "test"}
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)


def test_no_policy_says_everybody(found) -> None:
    for name, policy in of_kind(found, "NetworkPolicy").items():
        for rule, side in [
            *((rule, "from") for rule in policy["spec"].get("ingress", ())),
            *((rule, "to") for rule in policy["spec"].get("egress", ())),
        ]:
            assert rule.get(side), (name, rule)
            assert rule.get("ports"), (name, rule)
            for peer in rule[side]:
                selectors = [value for key, value in peer.items() if key != "ipBlock"]
                assert all(selector for selector in selectors), (name, peer)
                assert selectors or peer["ipBlock"]["except"], (name, peer)


def test_the_internet_has_no_private_addresses(render) -> None:
    policy = of_kind(chart.objects(render("minimal")), "NetworkPolicy")["headrace-appview"]
    blocks = [peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    spared = [ipaddress.ip_network(network) for block in blocks for network in block["except"]]

    for address in ("10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"):
        found = ipaddress.ip_address(address)
        assert any(found in network for network in spared if network.version == found.version), address


def test_only_roles_that_resolve_identities_reach_the_internet(render) -> None:
    policies = of_kind(chart.objects(render("minimal")), "NetworkPolicy")
    outside = {
        name
        for name, policy in policies.items()
        if any("ipBlock" in peer for rule in policy["spec"]["egress"] for peer in rule["to"])
    }

    assert outside == {"headrace-pds", "headrace-appview"}


@pytest.mark.parametrize("case", ["minimal", "large"])
def test_roles_reach_a_collector_of_traces_where_one_is_named(case: str, render) -> None:
    found = chart.objects(render(case))
    reaching = {
        name
        for name, policy in of_kind(found, "NetworkPolicy").items()
        for rule in policy["spec"].get("egress", ())
        if {"port": 4318} in rule["ports"]
    }
    workloads = {**of_kind(found, "Deployment"), **of_kind(found, "StatefulSet")}

    assert reaching == (set(workloads) if case == "large" else set())


# --- budgets and scaling ---


def test_a_drain_takes_one_pod_of_a_role_at_a_time(render) -> None:
    found = chart.objects(render("medium"))
    budgets = of_kind(found, "PodDisruptionBudget")

    assert budgets.keys() == of_kind(found, "Deployment").keys() | of_kind(found, "StatefulSet").keys()
    assert {budget["spec"]["maxUnavailable"] for budget in budgets.values()} == {1}


def test_processors_never_outnumber_shards() -> None:
    few = changed("roles.process.replicas=9", "cluster.shards=3")
    scaled = changed(
        "cluster.shards=3",
        "roles.process.autoscaling.enabled=true",
        "roles.process.autoscaling.maxReplicas=50",
        "roles.process.autoscaling.minReplicas=5",
        "roles.process.autoscaling.prometheus=http://prometheus:9090",
    )

    scaler = of_kind(scaled, "ScaledObject")["headrace-process-g1"]["spec"]

    assert of_kind(few, "Deployment")["headrace-process-g1"]["spec"]["replicas"] == 3
    assert (scaler["minReplicaCount"], scaler["maxReplicaCount"]) == (3, 3)


def test_what_is_scaled_has_no_number_of_its_own(render) -> None:
    found = chart.objects(render("large"))
    workloads = of_kind(found, "Deployment")

    for scaler in (*of_kind(found, "ScaledObject").values(), *of_kind(found, "HorizontalPodAutoscaler").values()):
        assert "replicas" not in workloads[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]
    assert "replicas" in workloads["headrace-firehose"]["spec"]


def test_the_scaler_asks_for_a_metric_that_exists(render) -> None:
    scaler = of_kind(chart.objects(render("large")), "ScaledObject")["headrace-process-g1"]["spec"]
    query = scaler["triggers"][0]["metadata"]["query"]
    page = (chart.ROOT / "docs" / "metrics.md").read_text()

    assert "headrace_waiting_entries{" in query
    assert "`headrace_waiting_entries`" in page


def test_pods_of_a_role_are_spread(render) -> None:
    for each in of_kind(chart.objects(render("medium")), "Deployment").values():
        spread = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert {entry["topologyKey"] for entry in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for entry in spread:
            assert entry["labelSelector"] == each["spec"]["selector"]


# --- roles and generations ---


def test_a_role_wins_over_the_defaults_key_by_key() -> None:
    found = changed(
        "defaults.resources.requests.cpu=3",
        "roles.pds.resources.requests.memory=5Gi",
        "defaults.maxUnavailable=2",
        "roles.firehose.maxUnavailable=0",
        "roles.firehose.drainSeconds=0",
    )
    pds = of_kind(found, "StatefulSet")["headrace-pds"]["spec"]["template"]["spec"]["containers"][0]
    firehose = of_kind(found, "Deployment")["headrace-firehose"]["spec"]["template"]["spec"]["containers"][0]

    assert pds["resources"]["requests"] == {"cpu": 3, "memory": "5Gi"}
    assert of_kind(found, "PodDisruptionBudget")["headrace-firehose"]["spec"]["maxUnavailable"] == 0
    assert of_kind(found, "PodDisruptionBudget")["headrace-appview"]["spec"]["maxUnavailable"] == 2
    assert "lifecycle" not in firehose


def test_a_generation_that_is_built_has_processors_of_its_own_and_may_keep_its_image(render) -> None:
    workloads = of_kind(chart.objects(render("upgrade")), "Deployment")
    images = {
        name: each["spec"]["template"]["spec"]["containers"][0]["image"]
        for name, each in workloads.items()
        if "-process-" in name
    }

    assert images == {"headrace-process-g1": "headrace:1.0.0", "headrace-process-g2": "headrace:2.0.0"}


def test_an_upgrade_checks_the_tables_begins_the_build_and_flips_last(render) -> None:
    jobs = of_kind(chart.objects(render("upgrade")), "Job")
    setup, flip = jobs["headrace-setup"], jobs["headrace-flip"]
    steps = setup["spec"]["template"]["spec"]["initContainers"]

    assert [step["name"] for step in steps] == ["topics", "tables", "build-g2"]
    assert steps[1]["image"] == "headrace:1.0.0"
    assert steps[2]["args"][1:] == ["build", "g2"]
    assert setup["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert flip["metadata"]["annotations"]["helm.sh/hook"] == "post-upgrade"
    assert flip["spec"]["template"]["spec"]["containers"][0]["args"][1:] == ["flip", "g2", "3600"]


def test_appviews_read_what_is_to_be_flipped_to_and_pdses_are_not_told(render) -> None:
    found = chart.objects(render("upgrade"))
    generations = {
        name: next(entry["value"] for entry in spec["containers"][0]["env"] if entry["name"] == "HEADRACE_GENERATION")
        for name, spec in chart.pods(found)
        if name.endswith(("appview", "pds", "process-g1", "process-g2"))
    }

    assert generations == {
        "Deployment/headrace-appview": "g2",
        "StatefulSet/headrace-pds": "g1",
        "Deployment/headrace-process-g1": "g1",
        "Deployment/headrace-process-g2": "g2",
    }


def test_an_installation_makes_topics_and_leaves_tables_to_the_first_processor(render) -> None:
    setup = of_kind(chart.objects(render("minimal")), "Job")["headrace-setup"]
    appview = of_kind(chart.objects(render("minimal")), "Deployment")["headrace-appview"]

    assert [step["name"] for step in setup["spec"]["template"]["spec"]["initContainers"]] == ["topics"]
    assert appview["spec"]["template"]["spec"]["initContainers"][0]["name"] == "await-tables"


def test_numbers_are_written_in_full(render) -> None:
    pds = of_kind(chart.objects(render("small")), "StatefulSet")["headrace-pds"]["spec"]["template"]["spec"]
    found = {entry["name"]: entry["value"] for entry in pds["containers"][0]["env"]}

    assert found["HEADRACE_BLOB_LIMIT"] == "100000000"
    assert found["HEADRACE_RATE_LIMIT_SCALE"] == "0.5"
    assert found["HEADRACE_ALLOW_PRIVATE_ADDRESSES"] == "true"
    assert found["HEADRACE_HANDLE_DOMAINS"] == ".example.com,.example.net"


def test_an_image_is_named_by_its_digest_when_there_is_one(render) -> None:
    for name, spec in chart.pods(chart.objects(render("large"))):
        assert all("@sha256:" in each["image"] for each in chart.containers(spec)), name


def test_a_pds_without_an_appview_forwards_nothing() -> None:
    found = changed("roles.appview.enabled=false", "routes=null")
    env = of_kind(found, "StatefulSet")["headrace-pds"]["spec"]["template"]["spec"]["containers"][0]["env"]

    assert "HEADRACE_APPVIEW_URL" not in {entry["name"] for entry in env}


# --- routes ---


def test_routes_lead_to_ports_of_services(render) -> None:
    ingress = of_kind(chart.objects(render("medium")), "Ingress")["headrace"]["spec"]
    services = of_kind(chart.objects(render("medium")), "Service")
    routes = of_kind(chart.objects(render("large")), "HTTPRoute")

    assert [rule["host"] for rule in ingress["rules"]] == ["example.com", "*.example.com", "firehose.example.com"]
    for rule in ingress["rules"]:
        for path in rule["http"]["paths"]:
            service = services[path["backend"]["service"]["name"]]
            assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    for route in routes.values():
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                assert backend["port"] == services[backend["name"]]["spec"]["ports"][0]["port"]


def test_addresses_of_clients_are_taken_from_a_proxy_only_where_there_is_one(render) -> None:
    def trusted(case: str) -> bool:
        env = of_kind(chart.objects(render(case)), "StatefulSet")["headrace-pds"]["spec"]["template"]["spec"]
        return {"name": "HEADRACE_TRUST_FORWARDED", "value": "true"} in env["containers"][0]["env"]

    assert trusted("medium")
    assert not trusted("minimal")


# --- monitoring ---


def test_every_role_is_scraped_once(render) -> None:
    found = chart.objects(render("medium"))
    monitor = of_kind(found, "PodMonitor")["headrace"]["spec"]
    key = monitor["selector"]["matchExpressions"][0]["key"]

    for each in (*of_kind(found, "Deployment").values(), *of_kind(found, "StatefulSet").values()):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert key in labels
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind(found, "ServiceMonitor") == {}


def test_a_service_monitor_finds_a_service_of_every_role(render) -> None:
    found = chart.objects(render("large"))
    selector = of_kind(found, "ServiceMonitor")["headrace"]["spec"]["selector"]["matchLabels"]
    services = [
        each for each in of_kind(found, "Service").values() if selector.items() <= each["metadata"]["labels"].items()
    ]
    scraped = {service["spec"]["selector"]["app.kubernetes.io/component"] for service in services}

    assert scraped == {"appview", "derive", "firehose", "pds", "process-g1"}


def test_every_rule_and_dashboard_of_the_chart_is_rendered() -> None:
    """Not in a golden file: what alerts and dashboards say changes without the chart."""
    found = changed("monitoring.rules.enabled=true", "monitoring.dashboards.enabled=true")
    rules = [yaml.safe_load(path.read_text())["groups"] for path in sorted((chart.CHART / "rules").glob("*.yaml"))]
    dashboards = {path.name: path.read_text() for path in (chart.CHART / "dashboards").glob("*.json")}
    shown = {
        name: text
        for each in of_kind(found, "ConfigMap").values()
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in each["data"].items()
    }

    for each in of_kind(found, "PrometheusRule").values():
        jsonschema.validate(each, SCHEMAS["PrometheusRule"])
    assert [each["spec"]["groups"] for each in of_kind(found, "PrometheusRule").values()] == rules
    assert {name: text.strip() for name, text in shown.items()} == {
        name: text.strip() for name, text in dashboards.items()
    }
    assert all(len(text) < 900_000 for text in dashboards.values()), "a ConfigMap has room for 1 MiB"


# --- what is refused ---


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["kafka.servers=null"], "kafka.servers: expected brokers"),
        (["cql.hosts=null"], "cql.hosts: expected nodes"),
        (["network.hostname="], "network.hostname: expected the public name"),
        (["network.plcUrl="], "network.plcUrl: expected the address"),
        (["kafka.sasl.existingSecret="], "kafka.sasl.existingSecret: expected a Secret"),
        (["cql.username=headrace"], "cql.existingSecret: expected a Secret"),
        (["roles.pds.replicas=2"], "roles.pds.replicas: expected 1, found 2"),
        (["roles.relais.replicas=1"], 'roles.relais: expected a role of Headrace, found "relais"'),
        (["flip.to=g7"], 'flip.to: expected one of generations (g1), found "g7"'),
        (["gateway.enabled=true"], "gateway.parentRefs: expected gateways"),
        (["monitoring.podMonitor.enabled=true", "monitoring.serviceMonitor.enabled=true"], "found both"),
        (["roles.process.autoscaling.enabled=true"], "autoscaling.prometheus: expected the address"),
        (["roles.appview.enabled=false"], 'goes to "appview", expected an enabled key of roles'),
        (["replicaCount=3"], "replicaCount: not read: set roles.NAME.replicas"),
        (["scylla.hosts={a}"], "scylla: not read: rename it to cql"),
        (["kafka.sasl.password=x"], "kafka.sasl.password: not read: put it into a Secret"),
        (["cluster.shard=3"], "shard"),
        (["cluster.shards=65"], "shards"),
        (["kafka.security=TLS"], "kafka"),
        (["settings.kafka-servers=x"], "kafka-servers"),
        (["roles.pds.autoscalling.enabled=true"], "autoscalling"),
    ],
)
def test_values_that_are_wrong_are_refused_with_the_cure(sets: list[str], said: str) -> None:
    with pytest.raises(chart.RenderError) as refusal:
        changed(*sets)

    assert said in str(refusal.value)
