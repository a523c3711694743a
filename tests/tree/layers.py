"""The layers, by what the sources include:

    ring <- {tls, ws} <- gateway        cache stands alone

That a call across the layers fails to link is seen by the linker; this sees the headers, where an
inline function or a struct would cross unseen. And liburing is spoken to in one file only.
"""

import pathlib
import re
import sys

MAY_INCLUDE = {
    "ring": {"ring"},
    "tls": {"tls", "ring"},
    "ws": {"ws", "ring"},
    "cache": {"cache"},
    "gateway": {"gateway", "tls", "ws", "cache", "ring"},
}
# A library, and the only places that may know it.
KNOWN_ONLY_TO = {
    re.compile(r"liburing(\.h|/)"): {"ring/kernel.c"},
    re.compile(r"linux/io_uring"): {"ring/kernel.c"},
    re.compile(r"(mbedtls|psa)/"): {"tls/", "ws/accept.c"},
    re.compile(r"openssl/"): {"tls/", "ws/accept.c", "gateway/"},
    re.compile(r"llhttp\.h"): {"gateway/http/"},
    re.compile(r"(cyaml/|yaml\.h)"): {"gateway/"},
    re.compile(r"jansson\.h"): {"gateway/"},
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.M)


def faults_in(root):
    seen = 0
    for layer, allowed in MAY_INCLUDE.items():
        for path in sorted((root / layer).rglob("*.[ch]")):
            name = path.relative_to(root).as_posix()
            seen += 1
            for match in INCLUDE.finditer(path.read_text()):
                ours, system = match.groups()
                line = path.read_text()[: match.start()].count("\n") + 1
                included = ours or system
                library_of_others = any(library.match(included) for library in KNOWN_ONLY_TO)
                if ours is not None and not library_of_others:
                    if not (root / ours).is_file():
                        yield f'{name}:{line}: "{ours}" is not written from the root of the tree'
                    elif ours.split("/")[0] not in allowed:
                        yield f'{name}:{line}: {layer} may not include "{ours}"'
                for library, places in KNOWN_ONLY_TO.items():
                    if library.match(included) and not any(
                        name == place or place.endswith("/") and name.startswith(place)
                        for place in places
                    ):
                        yield f"{name}:{line}: <{included}> is known only to {', '.join(sorted(places))}"
    if seen == 0:
        yield "no source was found at all: is this the root of the tree?"


def main():
    faults = list(faults_in(pathlib.Path(sys.argv[1])))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
