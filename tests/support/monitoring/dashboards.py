"""helm/dashboards/*.json: dashboards as Grafana reads them, built with grafana-foundation-sdk.

Each asks the data source and the jobs that are chosen at its top, an hour back, and marks firing alerts. Does not own
what they show (`board_of_*.py`, `boards_*.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from tests.support.monitoring.board_of_ingest import INGEST
from tests.support.monitoring.board_of_the_river import RIVER
from tests.support.monitoring.boards_flow import FLOW_BOARDS
from tests.support.monitoring.boards_integrity import INTEGRITY_BOARDS
from tests.support.monitoring.boards_requests import REQUEST_BOARDS
from tests.support.monitoring.panels import OK, Board, Panel, Steps, of_job

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = ROOT / "helm" / "dashboards"
BOARDS: tuple[Board, ...] = (RIVER, *FLOW_BOARDS, INGEST, *REQUEST_BOARDS, *INTEGRITY_BOARDS)
POINTS = 600  # at most, of a line: what a query answers is bounded however long the time shown is
_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_FIRING = 'ALERTS{alertname=~"Headrace.*",alertstate="firing"}'


def files() -> dict[Path, str]:
    """What is to be in helm/dashboards."""
    return {DASHBOARDS / f"{board.name}.json": _text(board) for board in BOARDS}


def _text(board: Board) -> str:
    return json.dumps(_built(board).build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _built(board: Board) -> builders.Dashboard:
    made = (
        builders.Dashboard(f"Headrace / {board.title}")
        .uid(f"headrace-{board.name}")
        .description(board.description)
        .tags(["headrace"])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_job())
        .annotation(_alerts())
        .link(_others())
    )
    number = 0
    for title, panels in board.rows:
        if title:
            number += 1
            made.with_row(builders.Row(title).id(number))
        for panel in panels:
            number += 1
            made.with_panel(_panel(panel).id(number))
    return made


def _job() -> builders.QueryVariable:
    return (
        builders.QueryVariable("job")
        .label("Job")
        .description("The scrape jobs of the installations to look at.")
        .datasource(_SOURCE)
        .query("label_values(headrace_build_info, job)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _alerts() -> builders.AnnotationQuery:
    query = builders.AnnotationQuery().name("Firing alerts").datasource(_SOURCE).enable(True)
    return query.icon_color("red").expr(f"sum by (alertname, severity) ({_FIRING})")


def _others() -> builders.DashboardLink:
    link = builders.DashboardLink("Headrace").type(models.DashboardLinkType.DASHBOARDS).tags(["headrace"])
    return link.as_dropdown(True).include_vars(True).keep_time(True)


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made = _stat(panel) if panel.kind == "stat" else _graph(panel)
    made = (
        made.title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(panel.width)
        .height(panel.height)
        .max_data_points(POINTS)
        .thresholds(_thresholds(panel.steps))
    )
    if panel.top is not None:
        made.max(panel.top)
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(of_job(query.expression)).legend_format(query.legend)
        made.with_target(target.ref_id(chr(ord("A") + number)).range())
    return made


def _stat(panel: Panel) -> stat.Panel:
    last = common_builders.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().reduce_options(last).no_value(panel.missing).graph_mode(common.BigValueGraphMode.AREA)
    colour = common.BigValueColorMode.BACKGROUND if panel.steps else common.BigValueColorMode.NONE
    return made.color_mode(colour).text_mode(common.BigValueTextMode.VALUE)


def _graph(panel: Panel) -> timeseries.Panel:
    legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE).show_legend(True)
    legend = legend.placement(common.LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"])
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    made = timeseries.Panel().legend(legend).tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    if panel.steps:
        dashed = common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        made.thresholds_style(dashed)
    return made.fill_opacity(8).line_width(1).show_points(common.VisibilityMode.NEVER)


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    found = [models.Threshold(value=None, color=OK)]
    found += [models.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)
