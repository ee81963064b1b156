"""panels.py PROMETHEUS: asks it, as Grafana would, what every panel of the dashboards asks, and names those that show
nothing.

That a metric exists (scripts/test-dashboards) does not yet mean that an expression finds it: labels have to match, and
both sides of a division. A panel that may be empty when all is well says so to whoever looks at it, by its `noValue`.
"""

import json
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import metrics

ROOT = Path(os.environ["COFFEE_SHOP_HOME"])
PROMETHEUS = sys.argv[1].rstrip("/")
# Long enough to hold whatever happened since the shop was opened.
MACROS = {"__rate_interval": "5m", "__range": "1h"}


def ask(expression):
    """The samples that an expression finds now; one that is not a number draws nothing."""
    question = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/query?{question}", timeout=10) as answer:
        samples = json.load(answer)["data"]["result"]
    return [sample for sample in samples if sample["value"][1] != "NaN"]


def shows(panel, services):
    """Whether any of its expressions finds something, for any service where one can be chosen."""
    expressions = {
        metrics.plain(target["expr"], MACROS | {"job": job}) for target in panel["targets"] for job in services
    }
    return any(ask(expression) for expression in sorted(expressions))


def main():
    services = sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir())
    shown, may_be_empty, empty = 0, 0, []
    for path in sorted((ROOT / "docker/grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            if "targets" not in panel:
                continue
            if shows(panel, services):
                shown += 1
            elif "noValue" in panel["fieldConfig"]["defaults"]:
                may_be_empty += 1
            else:
                empty.append(f"{path.stem}: {panel['title']}")
    for panel in empty:
        print(f"panels: nothing to see in {panel}", file=sys.stderr)
    if empty:
        sys.exit(f"error: {len(empty)} panels are empty and say nothing of it (see above)")
    print(f"{shown} panels show what they ask for, {may_be_empty} say that there is nothing to show")


main()
