"""Compares two runs of ceph/s3-tests: table.py DIRECT.xml GATEWAY.xml KNOWN

KNOWN has lines `reason: TEXT` and, below each, the names of tests (`*` at the end stands for any rest) that differ for it. TEXT is
a quotation from "What differs, on purpose" of the manual's page on S3.
Exit 1 if a test that passes directly fails through the gateway and is not named, if a reason is no quotation, or if more than
3 % of what passes directly fails.
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def results(path):
    """Name → passed, failed, skipped, or broken (the test's own clean-up or preparation failed)."""
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name, tags = case.get("name"), {child.tag for child in case}
        state = next((s for t, s in (("failure", "failed"), ("skipped", "skipped"), ("error", "broken")) if t in tags), "passed")
        if found.get(name) in (None, "passed", "broken"):
            found[name] = state if not (state == "passed" and name in found) else found[name]
    return found


def differs_on_purpose():
    page = pathlib.Path(__file__).resolve().parents[2] / "src" / "manual" / "s3.md"
    section = page.read_text(encoding="utf-8").split("## What differs, on purpose")[1].split("\n## ")[0]
    return " ".join(section.split())


def main():
    direct, gateway = results(sys.argv[1]), results(sys.argv[2])
    reasons, reason, manual = [], None, differs_on_purpose()
    for line in open(sys.argv[3], encoding="utf-8"):
        line = line.strip()
        if line.startswith("reason: "):
            reason = line[8:]
            if reason not in manual:
                sys.exit(f"the manual does not say so: {reason}")
        elif line and not line.startswith("#"):
            reasons.append((line, reason))
    passed = [name for name, state in direct.items() if state == "passed"]
    lost = sorted(name for name in passed if gateway.get(name) != "passed")
    explained, open_ones = collections.defaultdict(list), []
    for name in lost:
        fits = [r for pattern, r in reasons if pattern == name or pattern[-1] == "*" and name.startswith(pattern[:-1])]
        (explained[fits[0]] if fits else open_ones).append(name)
    for title, states in (("directly", direct), ("through the gateway", gateway)):
        counts = collections.Counter(states.values())
        print(f"{title}: " + ", ".join(f"{counts[s]} {s}" for s in ("passed", "failed", "broken", "skipped") if counts[s]))
    gained = sum(1 for name, state in gateway.items() if state == "passed" and direct.get(name) != "passed")
    print(f"of {len(passed)} that pass directly, {len(passed) - len(lost)} pass through the gateway; {gained} pass only there")
    for reason, names in sorted(explained.items(), key=lambda item: -len(item[1])):
        print(f"  {len(names):3} differ: {reason}")
    for name in open_ones:
        print(f"  NOT EXPLAINED: {name} ({gateway.get(name, 'not run')})")
    share = 100 * len(lost) / max(len(passed), 1)
    print(f"{len(lost)} of {len(passed)} differ: {share:.1f} %")
    sys.exit(1 if open_ones or share > 3 else 0)


main()
