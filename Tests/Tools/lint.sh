#!/usr/bin/env bash
# Form and architecture: formatting, length of files, imports as Package.swift has them. Prints what is wrong.
set -u
cd "$(dirname "$0")/../.." || exit 2
failures=0
wrong() { echo "FAIL $*"; failures=$((failures + 1)); }

swift format lint --strict --recursive Package.swift Sources Tests || wrong "swift format -i -r Package.swift Sources Tests"

while read -r lines file; do
  [ "$file" != total ] && [ "$lines" -gt 600 ] && wrong "$file has $lines lines; 600 is the limit"
done < <(git ls-files '*.swift' '*.c' '*.h' '*.py' '*.sh' '*.md' | xargs wc -l)

grep -rnE '^ *((package|public|internal) )?import (Foundation|Dispatch)' Sources && wrong "no Foundation, no Dispatch"
grep -rnE 'try!|as!|fatalError|-Ounchecked' Sources Package.swift | grep -v '^[^:]*:[0-9]*: *//' && wrong "nothing may end the host"

swift package dump-package | python3 -c '
import json, pathlib, re, sys
targets = {t["name"]: t for t in json.load(sys.stdin)["targets"]}
bad = 0
for name, target in targets.items():
    if target["type"] == "test":
        continue
    allowed = {d["byName"][0] for d in target["dependencies"]}
    for path in sorted(pathlib.Path(target.get("path") or f"Sources/{name}").rglob("*.swift")):
        for module in re.findall(r"^(?:\w+ )?import (\w+)", path.read_text(), re.M):
            if module in targets and module not in allowed:
                print(f"{path}: {name} may not import {module}")
                bad = 1
sys.exit(bad)' || wrong "a target imports only what Package.swift lists"

[ $failures -eq 0 ] && echo "ok   lint"
exit $((failures != 0))
