#!/usr/bin/env python3
"""Checks how the project writes. docs/style.md gives the rules and their reasons.

Prints one line per finding: FILE:LINE: RULE: the problem; the way out. Exits with 1 where there is one.
Paths in the file `unconverted` are exempt from one rule. An entry that exempts nothing is a finding too,
so that the list can only shrink.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
WIDTH = 100
LONGEST_TEST_NAME = 60

# What is avoided, as a regular expression for whole words, and what to write instead.
AVOIDED = [
    (r"tells?|told|telling", "write 'report', 'say', 'show' or 'write the status'"),
    (r"stands?|standing|stood", "write 'is', 'be' or 'exist'"),
    (r"who(so)?ever|whomever", "name the person: 'a user who', 'anyone who'"),
    (r"whatever|whichever|wherever", "name the cases, or write 'any' or 'regardless of'"),
    (r"answer(s|ed|ing)?", "write 'response', 'respond', 'return' or 'reply'"),
    (r"rights", "write 'permissions'"),
    (r"resource definitions?", "write 'CRD' or 'CustomResourceDefinition'"),
    (r"time limits?", "write 'timeout', or 'deadline' for a moment"),
    (r"anew", "write 'again'"),
    (r"mend(s|ed|ing)?", "write 'fix' or 'correct'"),
    (r"heed(s|ed|ing)?", "write 'respect' or 'take effect'"),
    (r"for ever", "write 'forever', 'indefinitely' or 'never'"),
    (r"at the (least|most)", "write 'at least' or 'at most'"),
    (r"comes? about", "write 'happen', or name who does it"),
    (r"thereby", "leave it out, or begin a new sentence"),
    (r"hostile", "write 'malicious'"),
    (r"(speaks?|says?|tells?) of (it|him|her|them)sel(f|ves)|speaks? of", "write 'report' or 'describe'"),
]
# Not a part of a path or of a name with a hyphen.
AVOIDED = [
    (re.compile(rf"(?<![\w/.-])(?:{pattern})(?![\w/-]|\.\w)", re.IGNORECASE), advice) for pattern, advice in AVOIDED
]

QUESTION = re.compile(r"(What|Whether|How|Who|Whom|Whose|Where|When|Why|Which|That|If)\b")
ERROR_TEXT = re.compile(r'(?:#\[error\(|\b(?:bail|anyhow)!\(|\.context\()\s*"((?:\\.|[^"\\])*)"')
# A word that is written with a capital wherever it is.
PROPER = re.compile(r"(AWS|Amazon|API|CRDs?|Cognito|Events?|Git|HTTPS?|IAM|JSON|Kubernetes|Lease|STS|URL|[A-Z]\w*[A-Z]\w*)\b")

# Comments and literals of Rust. A raw string is tried before a plain one, and a char before a lifetime.
RUST = re.compile(
    r"""(?P<comment>//[^\n]*)
      |(?P<block>/\*.*?\*/)
      |(?P<raw>\bb?r(?P<hashes>\#*)".*?"(?P=hashes))
      |(?P<string>"(?:\\.|[^"\\])*")
      |'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'""",
    re.VERBOSE | re.DOTALL,
)
TEST = re.compile(r"^\s*#\[(?:tokio::)?test\b[^\n]*\]\s*\n(?:\s*(?:#\[|//)[^\n]*\n)*\s*(?:async )?fn (\w+)", re.MULTILINE)


def without_code(text):
    """Blanks out what is quoted as code and where a link leads, and keeps every line."""
    code = re.compile(r"`[^`]*`|(?<=\])\([^)]*\)|https?://\S+")
    return code.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def avoided(number, text):
    """Finds avoided words outside code; the text may have several lines, of which the first has that number."""
    for offset, line in enumerate(without_code(text).split("\n")):
        for pattern, advice in AVOIDED:
            for match in pattern.finditer(line):
                yield number + offset, "avoided-word", f"'{match.group()}': {advice}"


def too_wide(number, line):
    """A line without a blank to break it at, such as a link or a command, may be as wide as it is."""
    breakable = re.sub(r"`[^`]*`", "code", line).strip().lstrip("/!#->*0123456789. ")
    if len(line) > WIDTH and " " in breakable:
        yield number, "width", f"{len(line)} columns: wrap prose at {WIDTH}"


def markdown(text):
    """Prose of a page: code blocks are left out, and tables may be wide."""
    in_code = False
    prose = []
    for number, line in enumerate(text.split("\n"), 1):
        fence = line.lstrip().startswith("```")
        in_code ^= fence
        if fence or in_code:
            prose.append("")
            continue
        prose.append(line)
        if not line.lstrip().startswith("|"):
            yield from too_wide(number, line)
    yield from avoided(1, "\n".join(prose))


def rust(text, is_test, is_schema=False):
    """Comments, doc comments, texts that users may see, and the names of tests."""
    tests_from = 0 if is_test else text.find("#[cfg(test)]") % (len(text) + 1)  # its strings are not for users
    after_summary = None  # the line after a doc comment's last, at which it would go on
    for match in RUST.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        if comment := match["comment"] or match["block"]:
            yield from avoided(number, comment)
            doc = re.match(r"//[/!](?!/) ?(.*)", comment)
            if doc and after_summary != number and (question := QUESTION.match(doc[1])):
                out = "begin with a third-person verb or a noun phrase"
                yield number, "doc-summary", f"the summary begins with '{question.group()}': {out}"
            after_summary = number + 1 if doc else None
        elif (literal := match["string"] or match["raw"]) and match.start() < tests_from and " " in literal:
            yield from avoided(number, re.sub(r"\{[^{}\n]*\}", "", literal))
    for match in ERROR_TEXT.finditer(text):
        number = text.count("\n", 0, match.start(1)) + 1
        if match[1][:1].isupper() and not PROPER.match(match[1]):
            yield number, "error-text", "an error begins with a capital: use lower case"
        if match[1].endswith("."):
            yield number, "error-text", "an error ends with a full stop: leave it out"
    for number, line in enumerate(text.split("\n"), 1):
        # A line break in the description of a field would be one in the CRD.
        if line.lstrip().startswith("//") and not (is_schema and line.lstrip().startswith("///")):
            yield from too_wide(number, line)
    for match in TEST.finditer(text):
        number = text.count("\n", 0, match.start(1)) + 1
        yield from avoided(number, match[1].replace("_", " "))
        if len(match[1]) > LONGEST_TEST_NAME:
            out = f"use at most {LONGEST_TEST_NAME}: subject, behaviour, condition"
            yield number, "test-name", f"{match[1]} has {len(match[1])} characters: {out}"


def yaml(text):
    """Comments, and the messages of policies. A comment that is indented is an example and may be wide."""
    yield from avoided(1, text)
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#") and not line.lstrip().startswith("#   "):
            yield from too_wide(number, line)


def check(path, text):
    """All findings in one file, as (line, rule, problem)."""
    name = pathlib.PurePosixPath(path)
    if name.suffix == ".md":
        return list(markdown(text))
    if name.suffix == ".rs":
        is_test = "tests" in name.parts or name.stem.endswith("tests")
        return list(rust(text, is_test, is_schema=path.startswith("src/api/")))
    if name.suffix in (".yaml", ".yml"):
        return list(yaml(text))
    if name.name == "Makefile" or text.startswith("#!"):
        return list(avoided(1, text))
    return []


# Generated, or not the words of the project. Generated texts are checked where they come from; the two
# pages are reports as `make faults` and `make load` printed them.
LEFT_OUT = ("crds/", "LICENSE", "Cargo.lock", ".ci/words/", "docs/faults.md", "docs/load.md")


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HERE.parent.parent, check=True, capture_output=True, text=True,
    ).stdout
    for path in filter(None, listed.split("\0")):
        file = HERE.parent.parent / path
        if not path.startswith(LEFT_OUT) and file.is_file() and not file.is_symlink():
            try:
                yield path, file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # not a text


def read_unconverted(text):
    """Entries of one line each: RULE PATH, where the path is that of a file, or the beginning of several."""
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.split("#")[0].split()
        if entry:
            rule, path = entry
            yield number, rule, path


def covers(entry, rule, path):
    _, its_rule, its_path = entry
    return rule == its_rule and path.startswith(its_path)


def report(files, unconverted):
    """All lines to print: findings that no entry exempts, and entries that exempt nothing."""
    entries = {entry: 0 for entry in read_unconverted(unconverted)}
    for path, text in files:
        for number, rule, problem in sorted(check(path, text)):
            exempt = [entry for entry in entries if covers(entry, rule, path)]
            for entry in exempt:
                entries[entry] += 1
            if not exempt:
                yield f"{path}:{number}: {rule}: {problem}"
    for (number, rule, path), findings in entries.items():
        if not findings:
            yield f".ci/words/unconverted:{number}: '{rule} {path}' exempts nothing: delete this line"


def main():
    lines = list(report(sources(), (HERE / "unconverted").read_text(encoding="utf-8")))
    for line in lines:
        print(line)
    if lines:
        print(f"words: {len(lines)} findings; docs/style.md explains the rules", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
