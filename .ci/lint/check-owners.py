"""Fails if a line of CODEOWNERS has no owner, or matches no file:

    git ls-files | check-owners.py .github/CODEOWNERS
"""

import sys

from codeowners import CodeOwners

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
files = sys.stdin.read().splitlines()
lines = CodeOwners(text).paths
words = [line.split() for line in text.splitlines()]
if not files or not lines:
    sys.exit("codeowners: no files, or no lines")
faults = []
for pattern, path, owners, number, *_ in lines:
    if not owners or len(owners) != len(words[number - 1]) - 1:
        faults.append(f"{sys.argv[1]}:{number}: {path} needs owners, and nothing else: @user, @organization/team")
    if not any(pattern.search(name) for name in files):
        faults.append(f"{sys.argv[1]}:{number}: {path} matches no file")
sys.exit("\n".join(faults) if faults else 0)
