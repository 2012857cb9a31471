# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus' text format 0.0.4: stricter than Prometheus itself, for it also wants
HELP and TYPE before every sample, samples of one name together, and histograms that add up."""
import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
VALUE = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN")
TYPES = ("counter", "gauge", "histogram")
SUFFIXES = ("_bucket", "_sum", "_count")


class FormatError(AssertionError):
    pass


def check(condition, what, line=""):
    if not condition:
        raise FormatError(f"{what}: {line!r}")


def read_labels(text, line):
    """(labels, rest) of what begins at the brace."""
    labels, at = {}, 1
    while text[at:at + 1] != "}":
        match = LABEL.match(text, at)
        check(match, "no label name", line)
        check(match.group() not in labels, "a label twice", line)
        at = match.end()
        check(text[at:at + 2] == '="', "no value of a label", line)
        at, value = at + 2, ""
        while text[at:at + 1] != '"':
            check(at < len(text), "no end of a value", line)
            if text[at] == "\\":
                check(text[at + 1:at + 2] in ("\\", '"', "n"), "a bad escape", line)
                value += "\n" if text[at + 1] == "n" else text[at + 1]
                at += 2
            else:
                value += text[at]
                at += 1
        labels[match.group()] = value
        at += 1
        if text[at:at + 1] == ",":
            at += 1
        else:
            check(text[at:at + 1] == "}", "no end of the labels", line)
    return labels, text[at + 1:]


def family_of(name, types):
    if name in types:
        return name
    for suffix in SUFFIXES:
        base = name[:-len(suffix)]
        if name.endswith(suffix) and types.get(base) == "histogram":
            return base
    return None


def check_histograms(samples, types):
    for family, kind in types.items():
        if kind != "histogram":
            continue
        series = {}
        for name, labels, value in samples:
            if family_of(name, types) != family:
                continue
            key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
            entry = series.setdefault(key, {"buckets": []})
            if name == family + "_bucket":
                entry["buckets"].append((float(labels["le"]), value))
            else:
                entry[name[len(family) + 1:]] = value
        for entry in series.values():
            bounds = [b for b, _ in entry["buckets"]]
            counts = [n for _, n in entry["buckets"]]
            check(bounds == sorted(set(bounds)) and bounds[-1] == math.inf, "bounds", family)
            check(counts == sorted(counts), "buckets do not add up", family)
            check(entry["count"] == counts[-1] and entry["sum"] >= 0, "sum and count", family)


def parse(text):
    """[(name, labels, value)], and {family: type}."""
    check(text.endswith("\n"), "no newline at the end", text[-80:])
    helps, types, samples, seen = set(), {}, [], set()
    current, done = None, set()
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            check(NAME.fullmatch(name), "a bad name", line)
            if word == "HELP":
                check(name not in helps and rest, "HELP", line)
                helps.add(name)
                done.add(current)
                current = name
            else:
                check(word == "TYPE" and name == current and name not in types and rest in TYPES,
                      "TYPE", line)
                types[name] = rest
            continue
        match = NAME.match(line)
        check(match, "no name", line)
        name, rest, labels = match.group(), line[match.end():], {}
        if rest.startswith("{"):
            labels, rest = read_labels(rest, line)
        check(rest.startswith(" ") and VALUE.fullmatch(rest[1:]), "no value", line)
        family = family_of(name, types)
        check(family and family == current and family not in done, "a sample out of its place", line)
        key = (name, tuple(sorted(labels.items())))
        check(key not in seen, "a sample twice", line)
        seen.add(key)
        value = float(rest[1:])
        check(value >= 0, "less than nothing", line)
        if types[family] == "counter":
            check(name.endswith("_total"), "a counter without _total", line)
        samples.append((name, labels, value))
    check_histograms(samples, types)
    return samples, types


class Metrics:
    def __init__(self, text):
        self.samples, self.types = parse(text)

    def all(self, name, **labels):
        """The values of all samples of this name with these labels, among others."""
        return [v for n, have, v in self.samples
                if n == name and all(have.get(k) == want for k, want in labels.items())]

    def one(self, name, **labels):
        values = self.all(name, **labels)
        check(len(values) == 1, f"{len(values)} samples", (name, labels))
        return values[0]
