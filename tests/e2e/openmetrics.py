# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads an exposition as OpenMetrics 1.0 wants it, and takes nothing else."""
import http.client
import re
import socket

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf|NaN)|\+Inf)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",), "histogram": ("_bucket", "_count", "_sum")}


class Wrong(Exception):
    pass


def want(condition, *what):
    if not condition:
        raise Wrong(" ".join(str(w) for w in what))


def labels_of(text, line):
    found, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        want(m, "labels of", line)
        want(m.group(1) not in found, "a label twice in", line)
        found[m.group(1)] = m.group(2)
        at = m.end()
        want(m.group(3) == "," or at == len(text), "labels of", line)
        want(m.group(3) != "," or at < len(text), "a comma at the end of the labels of", line)
    return found


def check_histogram(name, samples):
    """Per set of labels: bounds that grow up to +Inf, counts that do not fall, and the same number in _count."""
    series = {}
    for (sample, labels), value in samples.items():
        rest = tuple((k, v) for k, v in labels if k != "le")
        series.setdefault(rest, {"buckets": []})
        if sample.endswith("_bucket"):
            series[rest]["buckets"].append((float(dict(labels)["le"]), value))
        else:
            series[rest][sample[len(name):]] = value
    for rest, s in series.items():
        bounds, counts = [b for b, _ in s["buckets"]], [c for _, c in s["buckets"]]
        want(bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), "bounds of", name, rest)
        want(counts == sorted(counts) and counts[-1] == s["_count"], "counts of", name, rest)
        want("_sum" in s, "no sum of", name, rest)


def parse(text):
    """{family: {"type", "unit", "help", "samples": {(name, labels): value}}}"""
    want(text.endswith("# EOF\n"), "it does not end with # EOF")
    families, family = {}, None
    for line in text[:-len("# EOF\n")].split("\n")[:-1]:
        if line.startswith("# "):
            kind, name, value = (line[2:].split(" ", 2) + [""])[:3]
            want(kind in ("TYPE", "UNIT", "HELP"), "what is", line)
            if family is None or name != family["name"]:
                want(kind == "TYPE" and name not in families, "a family must begin with its type, once:", line)
                family = families[name] = {"name": name, "samples": {}}
            want(kind.lower() not in family and not family["samples"], "twice, or after a sample:", line)
            family[kind.lower()] = value
            want(kind != "TYPE" or value in SUFFIXES, "the type of", line)
            want(kind != "UNIT" or name.endswith("_" + value), "the name must end in the unit:", line)
            continue
        m = SAMPLE.fullmatch(line)
        want(m and family, "no sample:", line)
        want(any(m.group(1) == family["name"] + s for s in SUFFIXES[family["type"]]), "not of the family", family["name"], ":", line)
        key = (m.group(1), tuple(sorted(labels_of(m.group(2) or "", line).items())))
        want(key not in family["samples"], "twice:", line)
        family["samples"][key] = float(m.group(3))
        want(family["type"] == "gauge" or family["samples"][key] >= 0, "below 0:", line)
    for f in families.values():
        want("help" in f and f["help"], "no help for", f["name"])
        if f["type"] == "histogram":
            check_histogram(f["name"], f["samples"])
    return families


class Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def get(path, target="/metrics", method="GET"):
    """(status, content type, text)"""
    c = Connection(path)
    c.request(method, target)
    answer = c.getresponse()
    text = answer.read().decode("utf-8")
    c.close()
    return answer.status, answer.getheader("Content-Type"), text


def value(families, name, **labels):
    for f in families.values():
        for (sample, have), v in f["samples"].items():
            if sample == name and dict(have) == labels:
                return v
    raise Wrong(f"there is no {name} {labels}")


def counters(families):
    """Whatever may never get smaller."""
    return {key: v for f in families.values() if f["type"] in ("counter", "histogram") for key, v in f["samples"].items()}
