"""Every .c of the folders is built: none was forgotten in a meson.build.

Called with the root of the tree and the sources that the build knows.
"""

import pathlib
import sys

FOLDERS = ["ring", "tls", "ws", "cache", "gateway"]


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    built = {pathlib.Path(name).resolve() for name in sys.argv[2:]}
    forgotten = [
        path.relative_to(root)
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.c"))
        if path.resolve() not in built
    ]
    for path in forgotten:
        print(f"{path} is in no meson.build")
    return 1 if forgotten else 0


if __name__ == "__main__":
    sys.exit(main())
