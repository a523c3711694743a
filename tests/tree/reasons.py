"""Every reason is declared once, defined once, explained, and has a verdict.

A reason is `const struct reason NAME = { "name", "sentence" };`, or REASON(NAME, "name", "sentence")
where a source has many: declared in one header under a comment (its own, or that of its group),
defined in one source, its name not used twice, its sentence for people, and listed in
gateway/verdict.c, which turns each of them into status, close code, metric and log line.
"""

import collections
import pathlib
import re
import sys

FOLDERS = ["ring", "tls", "ws", "cache", "gateway"]
# Reasons that only one function gives, as a family: verdict.c treats all that it returns alike.
FAMILIES = {
    "tls/reason.c": "the alerts of the other side, from tls_alert_reason()",
}
DECLARED = re.compile(r"^extern\s+const\s+struct\s+reason\s+([A-Za-z_0-9]+)\s*;[ \t]*(/\*.*)?$", re.M)
# Reasons that are told at the terminal before anything serves: no request, no connection, no metric ever meets them.
TERMINAL = {"gateway/config_fault.h"}
STRING = r'"(?:[^"\\]|\\.)*"'
DEFINED = re.compile(
    r"^(?:const\s+struct\s+reason\s+(?P<a>\w+)\s*=\s*\{|REASON\(\s*(?P<b>[A-Z]\w*)\s*,)"
    rf"\s*(?:\.name\s*=\s*)?(?P<name>{STRING})\s*,\s*(?:\.sentence\s*=\s*)?(?P<sentence>(?:{STRING}\s*)+),?\s*[)}}]\s*;",
    re.M,
)
ANY_DEFINITION = re.compile(r"^(?:(?:static\s+)?const\s+struct\s+reason\s+([A-Z]\w*)\s*=|REASON\(\s*([A-Z]\w*))", re.M)


def read(root, suffix):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*" + suffix)):
            yield path.relative_to(root).as_posix(), path.read_text()


def faults_in(root):
    declared = collections.defaultdict(list)
    for name, text in read(root, ".h"):
        lines = text.splitlines()
        for match in DECLARED.finditer(text):
            line = above = text[: match.start()].count("\n")
            while above > 0 and DECLARED.match(lines[above]):
                above -= 1
            if not match.group(2) and not lines[above].strip().endswith("*/"):
                yield f"{name}:{line + 1}: {match.group(1)} has no comment, nor has the group it stands in"
            declared[match.group(1)].append(name)

    defined = collections.defaultdict(list)
    for name, text in read(root, ".c"):
        understood = set()
        for match in DEFINED.finditer(text):
            reason, key = match["a"] or match["b"], match["name"].strip('"')
            understood.add(reason)
            defined[reason].append((name, key))
            sentence = "".join(part[1:-1] for part in re.findall(STRING, match["sentence"]))
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+|[a-z]+", key):
                yield f'{name}: the name of {reason} is "{key}", not lower case words joined by underscores'
            if len(sentence.split()) < 3 or sentence.endswith("."):
                yield f'{name}: the sentence of {reason} is "{sentence}": a few words for a person, no full stop'
        for match in ANY_DEFINITION.finditer(text):
            reason = match[1] or match[2]
            if match[0].startswith("static") and name in FAMILIES:
                continue
            if reason not in understood:
                yield f"{name}: the definition of {reason} is not written as name and sentence"
                defined[reason].append((name, reason.lower()))

    for reason, headers in declared.items():
        if len(headers) > 1:
            yield f"{reason} is declared more than once: {', '.join(headers)}"
        if reason not in defined:
            yield f"{headers[0]}: {reason} is declared and nowhere defined"
    users = collections.defaultdict(list)
    for reason, places in defined.items():
        if len(places) > 1:
            yield f"{reason} is defined more than once: {', '.join(name for name, _ in places)}"
        if reason not in declared:
            yield f"{places[0][0]}: {reason} is defined and declared in no header"
        users[places[0][1]].append(reason)
    for key, reasons in users.items():
        if len(reasons) > 1:
            yield f'"{key}" is the name of more than one reason: {", ".join(sorted(reasons))}'

    verdict = root / "gateway" / "verdict.c"
    if not verdict.is_file():
        return
    table = re.sub(r"/\*.*?\*/", "", verdict.read_text(), flags=re.S)
    for reason, headers in sorted(declared.items()):
        if headers[0] not in TERMINAL and not re.search(rf"&{reason}\b", table):
            yield f"gateway/verdict.c: {reason} has no verdict"


def main():
    root = pathlib.Path(sys.argv[1])
    faults = list(faults_in(root))
    for fault in faults:
        print(fault)
    if faults:
        return 1
    if not (root / "gateway" / "verdict.c").is_file():
        print("skipped: there is no gateway/verdict.c yet that could list the reasons")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
