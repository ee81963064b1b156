"""dashboards.py [METRICS.txt…]: holds Grafana's dashboards, the alert rules and docs/metrics.md to the metrics that
exist. Called by scripts/test-dashboards, which says what is checked.

A dashboard that asks for a metric nobody has shows an empty panel, and an alert on one never fires. Both look like
peace, so a name or a label that is not there is found here instead.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import metrics

ROOT = Path(os.environ["COFFEE_SHOP_HOME"])
GRAFANA = ROOT / "docker/grafana"
RULES = ROOT / "docker/prometheus/rules"
PAGE = ROOT / "docs/metrics.md"
COLUMNS = 24

complaints = []


def complain(where, what):
    if isinstance(where, Path):
        where = where.relative_to(ROOT)
    complaints.append(f"{where}: {what}")


class Known:
    """Every series that an expression may ask for, with its labels; `None` where any label may be."""

    def __init__(self, existing, records):
        self.labels = dict(metrics.OWN)
        for name, metric in existing.items():
            self.labels.update(metric.series(name))
        self.records = records
        self.any = metrics.ADDED.union(*self.labels.values())

    def check(self, where, expression):
        for name, label in metrics.asked_for(expression):
            if name is None:
                if label not in self.any:
                    complain(where, f"no metric has the label {label}, which groups in: {expression}")
            elif name not in self.labels and name not in self.records:
                complain(where, f"there is no metric {name or 'without a name'}, asked for in: {expression}")
            elif label and name in self.labels and name != "ALERTS" and label not in self.labels[name] | metrics.ADDED:
                complain(where, f"{name} has no label {label}, asked for in: {expression}")


def read_rules():
    """(where, name of the record or None, expression) of each rule."""
    rule = re.compile(r"^( *)- (alert|record): (\S+)\n((?:\1  .*\n|\n)*)", re.M)
    for path in sorted(RULES.glob("*.y*ml")):
        for indent, kind, name, body in rule.findall(path.read_text() + "\n"):
            found = re.search(rf"^{indent}  expr: (?:[>|]-?\n((?:{indent}    .*\n)+)|(.*)\n)", body, re.M)
            if not found:
                complain(path, f"{name}: cannot find its expr")
                continue
            expression = " ".join((found[1] or found[2]).split())
            yield f"{path.relative_to(ROOT)}: {name}", name if kind == "record" else None, expression


def check_texts(shown, existing):
    """What a running shop shows is what the code describes. Not the other way round: some figures begin late."""
    for name, metric in sorted(shown.items()):
        if name not in existing:
            complain("/metrics", f"shows {name}, which the code does not describe")
        elif metric != existing[name]:
            complain("/metrics", f"shows {name} as {metric}, and the code has {existing[name]}")
    for name in sorted(existing.keys() - shown.keys()):
        print(f"test-dashboards: {name} was not shown yet")


def check_page(page, existing, records):
    documented, documented_records = page
    for name in sorted(existing.keys() - documented.keys()):
        complain(PAGE, f"{name} is missing: {existing[name]}")
    for name in sorted(documented.keys() - existing.keys()):
        complain(PAGE, f"{name} does not exist")
    for name in sorted(documented.keys() & existing.keys()):
        if documented[name] != existing[name]:
            complain(PAGE, f"{name} is {existing[name]}, not {documented[name]}")
    for name in sorted(records ^ documented_records):
        complain(PAGE, f"{name} is {'missing' if name in records else 'recorded by no rule'}")


class Dashboard:
    # Of all alerts; that they are there is what scripts/test-alerts checks.
    runbooks = {found for path in RULES.glob("*.y*ml") for found in re.findall(r"runbook: (\S+)", path.read_text())}

    def __init__(self, path, known, sources):
        self.path, self.known, self.sources = path, known, sources
        self.text = path.read_text()
        self.content = json.loads(self.text)
        self.uid = self.content.get("uid")
        self.expressions = []

    def complain(self, what):
        complain(self.path, what)

    def check(self, uids):
        if self.uid != f"coffee-{self.path.stem}":
            self.complain(f"uid is {self.uid}, and has to be coffee-{self.path.stem}, which others link to")
        for field in ("title", "description"):
            if not self.content.get(field):
                self.complain(f"the dashboard has no {field}")
        for uid in re.findall(r'"/d/([\w-]+)', self.text):
            # A link to /d/coffee-${…} is made of what the panel shows.
            if uid not in uids and uid != "coffee-":
                self.complain(f"links to the dashboard {uid}, which does not exist")
        for runbook in sorted(set(re.findall(r"docs/runbooks/[\w-]+\.md", self.text)) - self.runbooks):
            self.complain(f"names {runbook}, which belongs to no alert")
        self.variables = {one["name"] for one in self.content.get("templating", {}).get("list", [])}
        panels = self.content.get("panels", [])
        if len({panel.get("id") for panel in panels}) < len(panels):
            self.complain("two panels have the same id")
        self.check_places(panels)
        for panel in panels:
            if panel.get("type") != "row":
                self.check_panel(panel)

    def check_places(self, panels):
        taken = {}
        for panel in panels:
            x, y, w, h = (panel["gridPos"][side] for side in "xywh")
            if x + w > COLUMNS:
                self.complain(f"{panel['title']}: is wider than the page")
            for cell in ((column, line) for column in range(x, x + w) for line in range(y, y + h)):
                if taken.setdefault(cell, panel["title"]) != panel["title"]:
                    return self.complain(f"{panel['title']}: lies over {taken[cell]}")

    def check_panel(self, panel):
        title = panel.get("title", "")
        where = f"{self.path.relative_to(ROOT)}: {title or 'a panel without a title'}"
        if not title.endswith("?"):
            complain(where, "the title asks no question")
        if not panel.get("description"):
            complain(where, "has no description")
        if "unit" not in panel.get("fieldConfig", {}).get("defaults", {}):
            complain(where, "has no unit")
        if panel.get("datasource", {}).get("uid") not in self.sources:
            complain(where, f"its data source is none of {sorted(self.sources)}")
        if not panel.get("targets"):
            complain(where, "asks for nothing")
        for target in panel.get("targets", []):
            self.check_target(where, target)

    def check_target(self, where, target):
        expression = target.get("expr")
        if not expression:
            return complain(where, f"target {target.get('refId')} has no expression")
        for variable in re.findall(r"\$\{?(\w+)", expression):
            if variable not in self.variables and not variable.startswith("__"):
                complain(where, f"there is no variable {variable}, used in: {expression}")
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
            if label not in self.known.any:
                complain(where, f"no metric has the label {label}, used in the legend")
        self.known.check(where, expression)
        self.expressions.append((where, expression))


def check_dashboards(known):
    sources = set(re.findall(r"^ +uid: (\S+)", (GRAFANA / "provisioning/datasources/shop.yaml").read_text(), re.M))
    dashboards = []
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        try:
            dashboards.append(Dashboard(path, known, sources))
        except json.JSONDecodeError as error:
            complain(path, f"is no JSON: {error}")
    uids = {dashboard.uid for dashboard in dashboards}
    names = {dashboard.path.stem for dashboard in dashboards}
    for name in sorted({path.name for path in (ROOT / "services").iterdir() if path.is_dir()} - names):
        complain(GRAFANA / "dashboards", f"the service {name} has no page")
    for dashboard in dashboards:
        dashboard.check(uids)
    return dashboards


def check_syntax(promtool, expressions):
    """promtool reads expressions in rules only, so each becomes one."""
    rules = []
    for where, expression in expressions:
        plain = metrics.plain(expression, {"__rate_interval": "1m", "__range": "1h"})
        rules.append({"record": "checked", "expr": plain, "labels": {"panel": where}})
    groups = [{"name": str(number), "rules": [rule]} for number, rule in enumerate(rules)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": groups}, file)  # which is YAML as well
        file.flush()
        done = subprocess.run([promtool, "check", "rules", "--lint=none", file.name], capture_output=True, text=True)
    for number, fault in re.findall(r'group "(\d+)", rule \d+.*?: (could not parse .*)', done.stderr):
        complain(rules[int(number)]["labels"]["panel"], fault)
    if done.returncode and "could not parse" not in done.stderr:
        complain("promtool", done.stderr.strip())


def main():
    existing, nameless = metrics.in_source(ROOT)
    complaints.extend(nameless)
    if len(sys.argv) > 1:
        check_texts(metrics.in_texts(Path(name).read_text() for name in sys.argv[1:]), existing)
    rules = list(read_rules())
    known = Known(existing, {record for _, record, _ in rules if record})
    check_page(metrics.in_page(PAGE.read_text()), existing, known.records)
    for where, _, expression in rules:
        known.check(where, expression)
    dashboards = check_dashboards(known)
    expressions = [one for dashboard in dashboards for one in dashboard.expressions]
    promtool = os.environ.get("PROMTOOL")
    if promtool:
        check_syntax(promtool, expressions)
    for complaint in complaints:
        print(f"test-dashboards: {complaint}", file=sys.stderr)
    if complaints:
        sys.exit("error: dashboards, rules and docs/metrics.md do not fit the metrics there are (see above)")
    syntax = "valid" if promtool else "not tried, for there is no promtool"
    print(
        f"{len(dashboards)} dashboards with {len(expressions)} expressions ({syntax}), {len(rules)} rules and"
        f" docs/metrics.md fit the {len(existing)} metrics there are"
    )


main()
