"""No file speaks of the machine it was written on.

No absolute path of somebody's home or checkout, and no host name of a package archive: what is to
be downloaded comes from the mirror that the machine itself is set up with.
"""

import pathlib
import re
import subprocess
import sys

FORBIDDEN = [
    # The letters are taken apart here so that this file passes its own test.
    (re.compile(r"(?<![\w.~$}*-])/(" + "ho" + r"me/[\w.-]+|" + "ro" + r"ot(?=/|\b(?!\w))|" + "wo" + r"rk(?=/|\b(?!\w)))"), "a path of one machine"),
    (re.compile(r"\b(deb|ftp\.\w+|security|snapshot|archive|ports)\." + r"(deb" + r"ian|ubu" + r"ntu)\.(org|com)\b"), "the host of a package archive"),
    (re.compile(r"\b(pypi\.org|files\.pythonhosted\.org|registry\.npmjs\.org|crates\.io|proxy\.golang\.org)\b".replace("pypi", "py" + "pi")), "the host of a package registry"),
]
BINARY = re.compile(rb"\0")


def tracked(root):
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
    )
    if listing.returncode == 0:
        for name in sorted(set(listing.stdout.decode().split("\0"))):
            if name and (root / name).is_file():
                yield name
        return
    # A tree without its history, from an archive: everything but what the build makes.
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(("build/", "deps/", "run/", ".git/")):
            yield name


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    faults = seen = 0
    for name in tracked(root):
        if name == "LICENSE" or name == "tests/tree/words.py" or name.startswith("tests/fuzz/corpus/"):
            continue
        content = (root / name).read_bytes()
        if BINARY.search(content[:8192]):
            continue
        seen += 1
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            for pattern, what in FORBIDDEN:
                match = pattern.search(line)
                if match:
                    faults += 1
                    print(f"{name}:{number}: {what}: {match.group(0)}")
    if seen == 0:
        print("no file was looked at: is this the root of the tree?")
    return 1 if faults or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
