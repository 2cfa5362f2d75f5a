#!/usr/bin/env python3
"""Checks what promtool cannot see: .ci/monitoring/check.py MONITORING OUTPUT

Each alert has a test in which it fires and one in which it does not, and each of these tests fails if
the threshold of the alert is broken. Writes the expressions of the dashboard to OUTPUT/dashboard.yaml,
as rules for promtool.
"""

import json
import pathlib
import re
import subprocess
import sys

# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$job": ".*", "$namespace": ".*"}


def expression(text):
    """Replaces the variables of Grafana in an expression."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    if "$" in text:
        sys.exit(f"an unknown variable in the dashboard: {text}")
    return text


def panels(dashboard):
    """Checks the panels, and returns the expressions of all."""
    seen, cells, expressions = set(), {}, []
    for panel in dashboard["panels"]:
        title, place = panel["title"], panel["gridPos"]
        if panel["id"] in seen or not panel["description"] or not panel["targets"]:
            sys.exit(f"the panel {title!r} has the id of another one, no description or no expression")
        seen.add(panel["id"])
        if place["x"] + place["w"] > 24:
            sys.exit(f"the panel {title!r} is wider than the dashboard")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if other := cells.get((x, y)):
                    sys.exit(f"the panels {title!r} and {other!r} overlap")
                cells[x, y] = title
        expressions += [expression(target["expr"]) for target in panel["targets"]]
    return expressions


def tests(monitoring):
    """Returns for each alert the expectations of its tests: whether it fires."""
    found = {}
    for path in sorted((monitoring / "tests").glob("*.yaml")):
        text = path.read_text()
        for alert, rest in re.findall(r'expr: ALERTS\{alertname="(\w+)", alertstate="firing"\}\n\s+exp_samples:(.*)', text):
            found.setdefault(alert, set()).add("[]" not in rest)
    return found


def broken(rules, alert):
    """Returns the rules with one alert that never fires, and with one that fires when it should not."""
    start = rules.index(f"- alert: {alert}\n")
    end = rules.find("- alert:", start + 1)
    rule = rules[start : end if end > 0 else None]
    body = re.search(r"expr: (?:>-\n)?(.*?)\n        (?:for|labels):", rule, re.DOTALL).group(1)
    once = re.sub(r"for: \w+", "for: 0s", rule)
    for change in (once.replace(body, "          vector(0) > 1"), once.replace(body, "          vector(1)")):
        yield rules.replace(rule, change)


def main():
    """Runs all checks."""
    monitoring, output = map(pathlib.Path, sys.argv[1:])
    rules = (monitoring / "rules.yaml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    found = tests(monitoring)
    for alert in alerts:
        if found.get(alert) != {True, False}:
            sys.exit(f"{alert} needs a test in which it fires and one in which it does not: {monitoring}/tests")
        for text in broken(rules, alert):
            (output / "tests").mkdir(exist_ok=True)
            (output / "rules.yaml").write_text(text)
            copies = []
            for path in (monitoring / "tests").glob("*.yaml"):
                if f'"{alert}"' in path.read_text():
                    copy = output / "tests" / path.name
                    copy.write_text(path.read_text())
                    copies.append(copy)
            run = subprocess.run(["promtool", "test", "rules", *copies], capture_output=True, text=True, check=False)
            if run.returncode == 0 or alert not in run.stdout + run.stderr:
                sys.exit(f"no test notices that {alert} is broken: {run.stdout}{run.stderr}")
    if unknown := set(found) - set(alerts):
        sys.exit(f"there are tests of alerts that do not exist: {unknown}")
    expressions = panels(json.loads((monitoring / "dashboard.json").read_text()))
    records = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    (output / "dashboard.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    print(f"monitoring: {len(alerts)} alerts tested, {len(expressions)} expressions of the dashboard")


if __name__ == "__main__":
    main()
