"""Plans: what is wrong is refused with its line and the nearest right word; strangers are hard to hit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from headrace.load import plan_file
from headrace.load.aim import aimed, check_faults, is_here
from headrace.load.measures import OF_OPERATION, OF_RUN
from headrace.load.plan import Plan, Read, Readers, Target, Write
from headrace.load.plan_file import PlanError, parse

HEAD = 'name = "x"\n[readers.a]\nrate = 1\n'
HERE = "127.0.0.1:1"
SHIPPED = sorted(plan_file.SHIPPED.glob("*.toml"))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('name = "x"\n\n[reader.a]\nrate = 1\n', 3, ("'reader'", "'readers'")),
        ('name = "x"\n[readers.a]\nrat = 1\n', 3, ("'rat'", "'rate'")),
        ('name = "x"\n[readers.a]\nrate = 1\nmix = { getTimelin = 1 }\n', 4, ("'getTimelin'", "'getTimeline'")),
        (HEAD + '[[faults]]\nat = 1\ndo = "kill"\nproces = "b"\n', 7, ("'proces'", "'process'")),
        (HEAD + "[short]\nload.second = 3\n", 5, ("'second'", "'seconds'")),
        (HEAD + "[cluster]\nload.second = 3\n", 5, ("'second'", "'seconds'")),
        (HEAD + "[cluster.short]\nload.second = 3\n", 5, ("'second'", "'seconds'")),
        ("cluster = 3\n" + HEAD, 1, ("expected a table",)),
        ("short = 3\n" + HEAD, 1, ("expected a table",)),
        (HEAD + '[load]\nseconds = "3"\n', 5, ("Expected `float`",)),
        (HEAD + "[load]\nseconds = -3\n", 5, ("> 0",)),
        ('name = "x"\n[readers.a]\nlimit = 1\n', 2, ("`rate`",)),
        (HEAD + '[[criteria]]\nmeasure = "p99.getTimeline"\nat_most = 1\n', 5, ("'p99_ms.getTimeline'",)),
        (HEAD + '[[criteria]]\nmeasure = "errors"\n', 5, ("at_most", "at_least")),
    ],
)
def test_a_wrong_plan_is_refused_with_its_line_and_the_nearest_right_word(text, line, words) -> None:
    with pytest.raises(PlanError) as refused:
        parse(text, "p.toml")

    message = str(refused.value)
    assert message.startswith(f"p.toml:{line}: "), message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "p.toml: "),
        ('name = "x"\n', "nobody comes"),
        (HEAD + "[load]\nseconds = 5\nramp = 5\n", "nothing is judged"),
        (HEAD + '[load]\nseconds = 5\n[[faults]]\nat = 6\ndo = "kill"\n', "after the load's end"),
    ],
)
def test_a_plan_without_sense_is_refused(text, words) -> None:
    with pytest.raises(PlanError, match=words):
        parse(text, "p.toml")


def test_the_short_form_lies_over_the_whole_one() -> None:
    text = HEAD + "limit = 9\n[load]\nseconds = 60\n[short]\nload.seconds = 5\nreaders.a.rate = 2\n"

    whole, short = parse(text, "p"), parse(text, "p", short=True)

    assert (whole.load.seconds, whole.readers["a"].rate) == (60, 1)
    assert (short.load.seconds, short.readers["a"].rate, short.readers["a"].limit) == (5, 2, 9)


FORMS = """
name = "x"
[readers.a]
rate = 100
limit = 9
[load]
seconds = 60
[cluster]
readers.a.rate = 10
load.settle = 300
[short]
load.seconds = 5
readers.a.limit = 3
[cluster.short]
readers.a.rate = 1
"""


@pytest.mark.parametrize(
    ("short", "cluster", "found"),
    [
        (False, False, (100, 9, 60, 30)),
        (True, False, (100, 3, 5, 30)),
        (False, True, (10, 9, 60, 300)),
        (True, True, (1, 3, 5, 300)),
    ],
)
def test_forms_lie_over_the_plan_the_clusters_the_short_one_and_the_short_one_of_a_cluster(
    short, cluster, found
) -> None:
    plan = parse(FORMS, "p", short=short, cluster=cluster)

    reader = plan.readers["a"]
    assert (reader.rate, reader.limit, plan.load.seconds, plan.load.settle) == found


def test_a_plan_whose_target_is_a_cluster_has_its_clusters_form() -> None:
    assert parse(f'{FORMS}[target]\nstart = "cluster"\n', "p").readers["a"].rate == 10


def test_a_plan_needs_no_form_for_a_cluster() -> None:
    assert parse(HEAD, "p", cluster=True) == parse(HEAD, "p")


def test_a_plan_without_a_short_form_says_so() -> None:
    with pytest.raises(PlanError, match=r"\[short\]"):
        parse(HEAD, "p", short=True)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("short", [False, True], ids=["whole", "short"])
@pytest.mark.parametrize("cluster", [False, True], ids=["one process", "cluster"])
def test_the_plans_that_ship_can_be_run(path, short, cluster) -> None:
    plan = plan_file.read(plan_file.find(path.stem), short=short, cluster=cluster)

    check_faults(aimed(plan, None, *((HERE, HERE) if cluster else (None, None))), {})
    assert plan.name == path.stem
    assert plan.about
    assert plan.criteria
    assert not short or plan.load.seconds <= 30


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_plans_that_ship_have_a_form_for_a_cluster(path) -> None:
    assert plan_file.read(path, cluster=True) != plan_file.read(path)


@pytest.mark.parametrize("name", ["seed-2024", "firehose-2024-peak"])
def test_what_is_carried_is_asked_of_a_cluster_too(name) -> None:
    whole, cluster = (plan_file.read(plan_file.find(name), cluster=each) for each in (False, True))

    for each in ("readers", "writers", "criteria"):
        assert getattr(whole, each) == getattr(cluster, each)
    assert {key: one.rate for key, one in whole.players.items()} == {k: one.rate for k, one in cluster.players.items()}


@pytest.mark.parametrize(
    ("start", "fault", "named", "words"),
    [
        ("embedded", 'do = "kill"\nprocess = "derive"', {}, "there are target;"),
        ("cluster", 'do = "kill"\nprocess = "relay"', {}, "there are target, plc, derive,"),
        ("cluster", 'do = "kill"\nprocess = "deriv"', {"other": 1}, "other; another is"),
        ("none", 'do = "kill"', {}, "there are none;"),
        ("none", 'do = "restart"\nprocess = "pds"', {"pds": 1}, "can be started again"),
    ],
)
def test_a_fault_that_finds_no_process_is_refused(start, fault, named, words) -> None:
    text = f'{HEAD}[target]\nstart = "{start}"\nurl = ""\n[[faults]]\nat = 1\n{fault}\n'
    with pytest.raises(PlanError, match=re.escape(words)):
        check_faults(parse(text, "p"), named)


def test_a_fault_finds_roles_and_those_that_are_named() -> None:
    text = HEAD + '[[faults]]\nat = 1\ndo = "stop"\nprocess = "{}"\n'

    check_faults(aimed(parse(text.format("derive"), "p"), None, HERE, HERE), {})
    check_faults(aimed(parse(text.format("db"), "p"), "http://127.0.0.1:1"), {"db": 7})


def test_six_plans_ship() -> None:
    assert {path.stem for path in SHIPPED} == {
        *("seed-2024", "firehose-2024-peak", "celebrity", "migration-wave", "outage", "soak")
    }


def plan(url: str = "", start: str = "embedded") -> Plan:
    return Plan(name="x", target=Target(start=start, url=url), readers={"a": Readers(rate=1)})  # type: ignore[arg-type]


STRANGER = "https://192.0.2.7"  # an address of documentation: nobody's


@pytest.mark.parametrize(
    ("in_plan", "on_command_line"),
    [("", STRANGER), (STRANGER, None), (STRANGER, "https://192.0.2.8"), ("http://127.0.0.1:1", STRANGER)],
)
def test_a_stranger_must_be_named_twice(in_plan, on_command_line) -> None:
    with pytest.raises(PlanError, match="name it twice"):
        aimed(plan(in_plan), on_command_line)


def test_who_is_named_twice_is_aimed_at() -> None:
    found = aimed(plan(STRANGER), STRANGER + "/")

    assert (found.target.url, found.target.start) == (STRANGER, "none")


@pytest.mark.parametrize("url", ["http://127.0.0.1:2583", "http://localhost:2583", "http://[::1]:2583"])
def test_this_machine_needs_no_second_word(url) -> None:
    assert aimed(plan(), url).target.url == url
    assert aimed(plan(url, "none"), None).target.url == url


@pytest.mark.parametrize("url", ["127.0.0.1:1", "ftp://127.0.0.1", "http://a@127.0.0.1", "http://127.0.0.1/xrpc", "x"])
def test_what_is_no_address_is_refused(url) -> None:
    with pytest.raises(PlanError, match="http://host:port"):
        aimed(plan(), url)


def test_a_plan_that_starts_nothing_needs_a_target() -> None:
    with pytest.raises(PlanError, match="--target"):
        aimed(plan(start="none"), None)


def test_a_broker_and_a_store_of_this_machine_make_a_cluster_whose_players_are_relays() -> None:
    found = aimed(parse('name = "x"\n[players.p]\nrate = 1\n', "x"), None, "127.0.0.1:9092", "localhost:9042")

    assert (found.target.start, found.target.kafka, found.target.cql) == ("cluster", "127.0.0.1:9092", "localhost:9042")
    assert found.players["p"].through == "relay"


@pytest.mark.parametrize("kafka", ["", "192.0.2.7:9093"])
def test_a_broker_elsewhere_must_be_named_twice(kafka) -> None:
    text = f'name = "x"\n[target]\nkafka = "{kafka}"\n[readers.a]\nrate = 1\n'

    with pytest.raises(PlanError, match="name it twice, as `kafka`"):
        aimed(parse(text, "x"), None, "192.0.2.7:9092", "127.0.0.1:9042")


def test_a_store_elsewhere_that_is_named_twice_is_aimed_at() -> None:
    text = 'name = "x"\n[target]\nkafka = "192.0.2.7:9092"\ncql = "192.0.2.7:9042"\n[readers.a]\nrate = 1\n'
    found = aimed(parse(text, "x"), None, "192.0.2.7:9092", "192.0.2.7:9042")

    assert found.target.start == "cluster"
    with pytest.raises(PlanError, match="name it twice, as `cql`"):
        aimed(parse(text, "x"), None, "192.0.2.7:9092", None)


@pytest.mark.parametrize(
    "words", [(None, "127.0.0.1:1", None), (None, None, "127.0.0.1:1"), (None, "here", "127.0.0.1:1")]
)
def test_a_cluster_needs_both_addresses(words) -> None:
    with pytest.raises(PlanError, match="host:port of what is there"):
        aimed(plan(), *words)


def test_a_server_and_a_cluster_are_not_aimed_at_together() -> None:
    with pytest.raises(PlanError, match="choose"):
        aimed(plan(), "http://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2")


def test_a_name_without_an_address_is_not_here() -> None:
    assert is_here("127.0.0.1")
    assert not is_here("192.0.2.7")
    assert not is_here("no-such-host.invalid")


PAGE = Path(__file__).resolve().parents[2] / "docs" / "load-testing.md"


def test_the_plans_of_the_documentation_can_be_run() -> None:
    found = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)

    assert found
    for text in found:
        assert aimed(parse(text, "docs"), "http://127.0.0.1:3000").criteria


def test_every_measure_and_table_is_documented() -> None:
    text = PAGE.read_text()

    assert [name for name in OF_RUN if f"`{name}`" not in text] == []
    assert [name for name in OF_OPERATION if f"`{name}." not in text] == []
    assert [name for name in (*Plan.__struct_fields__[3:], *get_args(Read), *get_args(Write)) if name not in text] == []
