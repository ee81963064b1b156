"""Which metrics there are: as the code describes them, as a running shop shows them, as docs/metrics.md lists
them, and which ones an expression of Prometheus asks for.

All four are read here and nowhere else, so that what is compared was understood in the same way. The expressions are
not parsed, only taken apart as far as names and labels need it; whether they are valid is promtool's to say.
"""

import re
from dataclasses import dataclass, field

# The buckets of shared/service/src/telemetry.rs are for names that end so; any other distribution is a summary.
HISTOGRAM = "_seconds"
# What Prometheus adds to each metric, and what it has itself.
ADDED = {"job", "instance"}
OWN = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "ALERTS_FOR_STATE": {"alertname", "severity"},
}

MACRO = re.compile(
    r'\b(describe_)?(counter|gauge|histogram)!\(\s*"(\w+)"((?:\s*,\s*"\w+"\s*=>\s*[^,()"]*(?:\(\))?)*)'
)
STRING = re.compile(r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'")
SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)?\s*\{([^{}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
NAME = re.compile(r"(?<![\w:.$])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])")
WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass
class Metric:
    """`kind` is counter, gauge, histogram or summary; `labels` are those the service itself gives."""

    kind: str
    labels: set = field(default_factory=set)

    def __str__(self):
        return f"a {self.kind} with {'the labels ' + ', '.join(sorted(self.labels)) if self.labels else 'no labels'}"

    def series(self, name):
        """The names under which Prometheus stores it, and the labels of each."""
        if self.kind == "histogram":
            return {f"{name}_bucket": self.labels | {"le"}, f"{name}_sum": self.labels, f"{name}_count": self.labels}
        if self.kind == "summary":
            return {name: self.labels | {"quantile"}, f"{name}_sum": self.labels, f"{name}_count": self.labels}
        return {name: self.labels}


def distribution(name):
    return "histogram" if name.endswith(HISTOGRAM) else "summary"


def in_source(root):
    """The described metrics by name, and the complaints about those that are counted without a description."""
    described, labels, where = {}, {}, {}
    for path in sorted(p for part in ("shared", "services") for p in (root / part).glob("*/src/**/*.rs")):
        for describes, kind, name, rest in MACRO.findall(path.read_text()):
            if describes:
                described[name] = Metric(distribution(name) if kind == "histogram" else kind)
            else:
                labels.setdefault(name, set()).update(re.findall(r'"(\w+)"\s*=>', rest))
                where.setdefault(name, path.relative_to(root))
    for name, metric in described.items():
        metric.labels = labels.get(name, set())
    nameless = [f"{where[name]}: {name} has no description" for name in sorted(labels.keys() - described.keys())]
    return described, nameless


def in_texts(texts):
    """The metrics in what services answered to GET /metrics."""
    found = {}
    for text in texts:
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M):
            found.setdefault(name, Metric(kind))
        for series, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.M):
            name = series if series in found else re.sub(r"_(bucket|sum|count)$", "", series)
            if name in found:
                used = re.findall(r'(\w+)="', STRING.sub('"', labels))
                found[name].labels.update(set(used) - {"le", "quantile"})
    return found


def in_page(page):
    """The metrics, and the names of recorded rules, in the tables of docs/metrics.md."""
    metrics, records = {}, set()
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`([\w:]+)`", cells[0])
        if name and len(cells) == 6:
            metrics[name[1]] = Metric(cells[1], set(re.findall(r"`(\w+)`", cells[3])))
        elif name:
            records.add(name[1])
    return metrics, records


def asked_for(expression):
    """What an expression asks for: (name, label) for each label of a selector, (name, None) for each name, and
    (None, label) for each label of a grouping."""
    text = STRING.sub('""', expression)
    for name, inside in SELECTOR.findall(text):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside):
            yield name, label
    text = SELECTOR.sub(r"\1", text)
    for inside in GROUPING.findall(text):
        for label in re.findall(r"\w+", inside):
            yield None, label
    text = re.sub(r"\[[^\]]*\]", "", GROUPING.sub("", text))
    for name in NAME.findall(text):
        if name.lower() not in WORDS | {"inf", "nan"}:
            yield name, None


def plain(expression, variables):
    """An expression of a panel as Prometheus reads it: with values in place of Grafana's variables."""
    return re.sub(r"\$(\w+)", lambda found: variables.get(found[1], "x"), expression)
