"""sbom.py PACKAGE…: writes PACKAGE.cdx.json for each into the folder of $SBOM_FOLDER. Called by scripts/sbom.

The crates are those that cargo would link into the program for Linux, as cargo itself says (`cargo tree`), with versions
and checksums of Cargo.lock. The same commit gives the same file: no time and no random serial number are in it.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(os.environ["COFFEE_SHOP_HOME"])
FOLDER = Path(os.environ["SBOM_FOLDER"])
TARGET = "x86_64-unknown-linux-gnu"
LINE = re.compile(r"(\d+)(\S+) v(\S+?)(?: \((?:proc-macro|[^)]*)\))*\|([^|]*)\|(.*?)(?: \(\*\))?$")


def checksums():
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}


def tree(package):
    """Every crate with its licence and repository, and what each needs directly."""
    command = ["cargo", "tree", "--locked", "--package", package, "--edges", "normal", "--target", TARGET]
    command += ["--prefix", "depth", "--format", "{p}|{l}|{r}"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    crates, needs, path = {}, {}, []
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            raise SystemExit(f"sbom.py: cannot read this line of cargo tree: {line}")
        depth, name, version, licence, repository = found.groups()
        crate = (name, version)
        del path[int(depth):]
        if path:
            needs[path[-1]].add(crate)
        path.append(crate)
        crates[crate] = (licence, repository)
        needs.setdefault(crate, set())
    return crates, needs


def purl(crate):
    return "pkg:cargo/{}@{}".format(*crate)


def component(crate, licence, repository, checksum):
    entry = {
        "type": "library",
        "bom-ref": purl(crate),
        "name": crate[0],
        "version": crate[1],
        "purl": purl(crate),
    }
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if licence:
        # Older crates write a slash where SPDX has OR.
        entry["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}]
    if repository:
        entry["externalReferences"] = [{"type": "vcs", "url": repository}]
    return entry


def document(package, sums):
    crates, needs = tree(package)
    parts = {crate: component(crate, *about, sums.get(crate)) for crate, about in sorted(crates.items())}
    program = next(crate for crate in crates if crate[0] == package)
    main = parts.pop(program) | {"type": "application"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": main},
        "components": list(parts.values()),
        "dependencies": [
            {"ref": purl(crate), "dependsOn": sorted(map(purl, needs[crate]))} for crate in sorted(crates)
        ],
    }


sums = checksums()
for package in sys.argv[1:]:
    text = json.dumps(document(package, sums), indent=1) + "\n"
    (FOLDER / f"{package}.cdx.json").write_text(text)
    print(f"{FOLDER}/{package}.cdx.json: {text.count('bom-ref')} crates")
