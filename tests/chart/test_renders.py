"""Each file of helm/ci renders, as it did, into what every Kubernetes that is supported takes."""

from __future__ import annotations

import json
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.chart.crds import SCHEMAS
from tests.support import chart
from tests.support.tools import need


def refused(each: chart.Object, version: str) -> str | None:
    """What is wrong with an object, by the schema of its kind."""
    try:
        if each["kind"] in SCHEMAS:
            jsonschema.validate(each, SCHEMAS[each["kind"]])
        else:
            kubernetes_validate.validate(each, version.rpartition(".")[0], strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{each['kind']}/{each['metadata']['name']}: {error.message}"
    return None


@pytest.mark.parametrize("case", chart.CASES)
def test_helm_lint_has_nothing_to_say(case: str) -> None:
    arguments = [argument for argument in chart.arguments_of(case) if argument != "--is-upgrade"]
    command = [need("helm"), "lint", chart.CHART, "--strict", "--kube-version", chart.VERSIONS[-1], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize("case", chart.CASES)
def test_a_render_is_its_golden_file(case: str, render) -> None:
    golden = chart.GOLDEN / f"{case}.yaml"

    assert render(case) == golden.read_text(), "look at the difference, then: python -m tests.support.chart golden"


def test_no_golden_file_is_of_nothing() -> None:
    assert sorted(path.stem for path in chart.GOLDEN.glob("*.yaml")) == chart.CASES


@pytest.mark.parametrize("version", chart.VERSIONS)
@pytest.mark.parametrize("case", chart.CASES)
def test_every_object_is_valid(case: str, version: str, render) -> None:
    found = chart.objects(render(case, version))

    assert len(found) > 10
    assert [line for each in found if (line := refused(each, version))] == []


def test_an_object_that_is_wrong_is_not_valid(render) -> None:
    deployment = next(each for each in chart.objects(render("minimal")) if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    scaled = next(each for each in chart.objects(render("large")) if each["kind"] == "ScaledObject")
    scaled["spec"]["maxReplicas"] = 3

    assert "readynessProbe" in (refused(deployment, chart.VERSIONS[-1]) or "")
    assert "maxReplicas" in (refused(scaled, chart.VERSIONS[-1]) or "")


def test_names_are_unique_within_a_render(found) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in found]

    assert len(names) == len(set(names))


def test_the_readme_is_the_comments_of_the_values() -> None:
    page = (chart.CHART / "README.md").read_text()

    assert page == chart.readme(), "run: python -m tests.support.chart readme"
    assert "| `kafka.servers` | `[]` | Brokers to begin with, as host:port. Required. |" in page


def test_every_value_that_has_a_default_is_one_that_the_schema_knows() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())

    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError, match="shard"):
        jsonschema.validate({**values, "cluster": {"shard": 3}}, schema)


@pytest.mark.parametrize("name", ["laptop.yaml"])
def test_example_values_render(name: str, render) -> None:
    render("minimal")
    found = chart.objects(chart.template("--values", chart.CHART / "examples" / name))

    assert [line for each in found if (line := refused(each, chart.VERSIONS[-1]))] == []


@pytest.mark.parametrize("preset", ["small", "medium", "large"])
def test_a_preset_is_one_of_the_cases(preset: str) -> None:
    assert (chart.CHART / "presets" / f"{preset}.yaml") in chart.arguments_of(preset)
