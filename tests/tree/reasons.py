"""Every reason is declared once, defined once, explained, and has a verdict.

A reason is `const struct reason NAME = { "name", "sentence" };`: declared in one header beside a
comment that says when it is given, defined in one source, its name not used twice, its sentence for
people, and listed in gateway/verdict.c, which turns each of them into status, close code and metric.
"""

import collections
import pathlib
import re
import sys

FOLDERS = ["ring", "tls", "ws", "cache", "gateway"]
DECLARED = re.compile(r"^extern\s+const\s+struct\s+reason\s+([A-Za-z_0-9]+)\s*;[ \t]*(/\*.*)?$", re.M)
DEFINED = re.compile(
    r"^const\s+struct\s+reason\s+([A-Za-z_0-9]+)\s*=\s*\{"
    r"\s*(?:\.name\s*=\s*)?\"([^\"]*)\"\s*,\s*(?:\.sentence\s*=\s*)?((?:\"(?:[^\"\\]|\\.)*\"\s*)+),?\s*\}\s*;",
    re.M,
)
ANY_DEFINITION = re.compile(r"^(?:static\s+)?const\s+struct\s+reason\s+([A-Z][A-Z_0-9]*)\s*=", re.M)


def read(root, suffix):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*" + suffix)):
            yield path.relative_to(root).as_posix(), path.read_text()


def faults_in(root):
    declared = collections.defaultdict(list)
    for name, text in read(root, ".h"):
        lines = text.splitlines()
        for match in DECLARED.finditer(text):
            line = text[: match.start()].count("\n")
            # The comment stands behind it, or in the line above it (or above a run of such lines).
            above = lines[line - 1].strip() if line else ""
            if not match.group(2) and not above.endswith("*/"):
                yield f"{name}:{line + 1}: {match.group(1)} has no comment that says when it is given"
            declared[match.group(1)].append(name)

    defined = collections.defaultdict(list)
    for name, text in read(root, ".c"):
        understood = set()
        for match in DEFINED.finditer(text):
            reason, key, sentence = match.groups()
            understood.add(reason)
            defined[reason].append((name, key))
            sentence = "".join(re.findall(r"\"((?:[^\"\\]|\\.)*)\"", sentence))
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+|[a-z]+", key):
                yield f'{name}: the name of {reason} is "{key}", not lower case words joined by underscores'
            if len(sentence.split()) < 3 or sentence.endswith("."):
                yield f'{name}: the sentence of {reason} is "{sentence}": a few words for a person, no full stop'
        for match in ANY_DEFINITION.finditer(text):
            if match.group(1) not in understood:
                yield f"{name}: the definition of {match.group(1)} is not written as name and sentence"
                defined[match.group(1)].append((name, match.group(1).lower()))

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
    for reason in sorted(declared):
        if not re.search(rf"&{reason}\b", table):
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
