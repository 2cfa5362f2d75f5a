#!/usr/bin/env python3
"""Tests of check.py: texts that pass and texts that are found, rule by rule."""

import sys
import unittest

sys.dont_write_bytecode = True  # leaves no files behind
import check

LONG = "a sentence of many words that goes on " * 3
CODE = "`" + "x" * 110 + "`"
NAME = "x" * 61

# Path, text, and what is found: pairs of line and rule.
CASES = [
    # width
    ("a.md", LONG, [(1, "width")]),
    ("a.md", "- " + LONG, [(1, "width")]),
    ("a.md", "short\n\n" + LONG, [(3, "width")]),
    ("a.md", "| " + LONG + "|", []),
    ("a.md", "```sh\n" + LONG + "\n```\n" + LONG, [(4, "width")]),
    ("a.md", "- https://" + "x" * 110, []),
    ("a.md", "see " + CODE, [(1, "width")]),
    ("a.md", "- `" + LONG + "`", []),
    ("a.yaml", "# " + LONG, [(1, "width")]),
    ("a.yaml", "key: " + LONG, []),
    ("a.yaml", "#   " + LONG, []),
    # avoided-word
    ("a.md", "The status tells what happened.", [(1, "avoided-word")]),
    ("a.md", "one\nTold, whatever it stands for", [(2, "avoided-word")] * 3),
    ("a.md", "a table cell\n| stands |", [(2, "avoided-word")]),
    ("a.md", "`tell` and `code\nthat stands` and [rights](docs/stand.md)", [(2, "avoided-word")]),
    ("a.md", "```\ntell\n```", []),
    ("a.md", "a standby, a standard, an understanding, storytelling", []),
    ("a.md", "deploy/rights.yaml, docs/rights.md and a long-standing bug", []),
    ("a.md", "nothing is sent anew, at the most once", [(1, "avoided-word")] * 2),
    ("a.rs", "// tell\nfn f() {}", [(1, "avoided-word")]),
    ("a.rs", "/* a\n tell */", [(2, "avoided-word")]),
    ("a.rs", 'fn f() { g("they answer"); }', [(1, "avoided-word")]),
    ("a.rs", 'fn f() { g(r#"a "tell" b"#); }', [(1, "avoided-word")]),
    ("a.rs", 'fn tell() { g("tell"); let told = \'"\'; }', []),
    ("a.rs", "fn f<'a>(x: &'a str) { tell(x) } // fine", []),
    ("a.rs", 'g("all {told} of {tell:?}"); h("{} tell");', [(1, "avoided-word")]),
    ("a.rs", 'g("they tell");\n#[cfg(test)]\nmod tests { g("they tell"); } // tell', [(1, "avoided-word"), (3, "avoided-word")]),
    ("tests/a.rs", 'fn f() { g("they answer"); } // tell', [(1, "avoided-word")]),
    ("a.yaml", "message: you have rights", [(1, "avoided-word")]),
    ("Makefile", "# stands here", [(1, "avoided-word")]),
    (".ci/x", "#!/bin/sh\necho whoever", [(2, "avoided-word")]),
    ("data.txt", "whoever", []),
    ("a.rs", "// " + LONG, [(1, "width")]),
    ("a.rs", "    /// Reads.\n    /// " + LONG, [(2, "width")]),
    ("a.rs", "//! https://" + "x" * 110, []),
    ("a.rs", 'let a = "' + LONG + '";', []),
    ("src/api/src/a.rs", "//! " + LONG + "\n/// " + LONG, [(1, "width")]),
    ("a.rs", "#[test]\nfn a_test_tells_what_is_hostile() {}", [(2, "avoided-word")] * 2),
    # doc-summary
    ("a.rs", "/// What is read.\nstruct A;", [(1, "doc-summary")]),
    ("a.rs", "//! Whether it is.\n", [(1, "doc-summary")]),
    ("a.rs", "/// Reads it.\n/// What is read is kept.\nstruct A;", []),
    ("a.rs", "/// Reads it.\nstruct A;\n/// How it is read.\nstruct B;", [(3, "doc-summary")]),
    ("a.rs", "// What is plain is not checked.", []),
    ("a.rs", "/// Whatsoever is one word.", []),
    ("a.rs", 'const A: &str = "/// What is quoted";', []),
    # error-text
    ("a.rs", '#[error("Failed to read")]', [(1, "error-text")]),
    ("a.rs", 'bail!("failed to read.")', [(1, "error-text")]),
    ("a.rs", 'x.context(\n    "Failed to read")?', [(2, "error-text")]),
    ("a.rs", '#[error("failed to read {0}")]', []),
    ("a.rs", 'anyhow!("AWS_PROFILE is empty")', []),
    ("a.rs", 'bail!("Cognito refused")', []),
    # test-name
    ("a.rs", f"#[test]\nfn {NAME}() {{}}", [(2, "test-name")]),
    ("a.rs", f"    #[tokio::test(flavor = \"x\")]\n    async fn {NAME}() {{}}", [(2, "test-name")]),
    ("a.rs", f"#[test]\n#[ignore]\nfn {NAME}() {{}}", [(3, "test-name")]),
    ("a.rs", f"#[test]\nfn {NAME[1:]}() {{}}", []),
    ("a.rs", f"fn {NAME}() {{}}", []),
]


class Check(unittest.TestCase):
    def test_finds_what_the_table_says_and_nothing_else(self):
        for path, text, expected in CASES:
            with self.subTest(path=path, text=text):
                self.assertEqual([(line, rule) for line, rule, _ in check.check(path, text)], expected)

    def test_says_what_to_write_instead_of_every_avoided_word(self):
        for pattern, advice in check.AVOIDED:
            self.assertRegex(advice, "write|name|leave", pattern)

    def test_exempts_paths_with_that_beginning_from_the_named_rule_alone(self):
        files = [("a/b.md", "tell\n" + LONG), ("c.md", "tell")]
        self.assertEqual(
            list(check.report(files, "avoided-word a/  # a folder\navoided-word c.md\n")),
            ["a/b.md:2: width: 114 columns: wrap prose at 100"],
        )

    def test_reports_an_entry_that_exempts_nothing(self):
        self.assertEqual(
            list(check.report([("a.md", "fine")], "# a comment\nwidth a.md\n")),
            [".ci/words/unconverted:2: 'width a.md' exempts nothing: delete this line"],
        )

    def test_reads_the_files_of_the_repository(self):
        paths = {path for path, _ in check.sources()}
        self.assertTrue({"README.md", "Makefile", "docs/style.md"} <= paths)
        self.assertFalse(any(path.startswith(check.LEFT_OUT) for path in paths))


if __name__ == "__main__":
    unittest.main()
