"""No mutable globals: our libraries hold no writable data, shared or thread-local.

State is passed down from the core. What is at file scope is a table, and a table is const. The
object files are asked, not the sources, so a static inside a function is found as well.
"""

import re
import subprocess
import sys

# "library:symbol" with the reason why it must be. It is empty, and should stay so.
ALLOWED = {}

# objdump -t: address, seven columns of flags, section, tab, size, name.
SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\t([0-9a-f]+)\s+(?:\.hidden )?(\S+)$")
# .data.rel.ro is written by the loader before main() and read-only from then on.
WRITABLE = re.compile(r"^(\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*)")
# What the sanitizers and the coverage counters put into every object beside the code.
INSTRUMENT = re.compile(r"^(__(asan|ubsan|tsan|lsan|sancov|gcov|llvm|odr_asan|start|stop|unnamed)|\.L|\.?LASAN|LASAN|\.data|\.bss)")


def faults_in(library):
    listing = subprocess.run(["objdump", "-t", library], check=True, capture_output=True, text=True).stdout
    member = "?"
    for line in listing.splitlines():
        if ": " in line and "file format" in line:
            member = line.split(":")[0]
        match = SYMBOL.match(line)
        if not match:
            continue
        flags, section, size, name = match.groups()
        if flags[5] == "d" or int(size, 16) == 0 or not WRITABLE.match(section) or INSTRUMENT.match(name):
            continue
        key = f"{library.rsplit('/', 1)[-1]}:{name}"
        if key not in ALLOWED:
            where = "thread-local" if section.startswith(".t") else "writable"
            yield f"{library}({member}): {name} is {where}, {int(size, 16)} bytes in {section}"


def main():
    if not sys.argv[1:]:
        print("usage: globals.py LIBRARY…")
        return 2
    faults = [fault for library in sys.argv[1:] for fault in faults_in(library)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
