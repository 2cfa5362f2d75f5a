#!/usr/bin/env python3
"""Completes the book in the folder given, and checks its links.

Pages link to files of the repository outside docs/. These are copied beside the pages, so that the
same links work on GitHub, in the book, and in a copy of the book without a network. Prints one line
for each link that leads nowhere, and exits with 1 if there is one.
"""

import html
import html.parser
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

BOOK = pathlib.Path(sys.argv[1]).resolve()
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


class Page(html.parser.HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif value and (name == "src" or (name == "href" and tag != "base")):
                self.links.append(value)


def is_local(link):
    parts = urllib.parse.urlsplit(link)
    return not parts.scheme and not parts.netloc


def target_of(page, link):
    """The file that a link of a page leads to, and its anchor."""
    parts = urllib.parse.urlsplit(link)
    path = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
    return path, urllib.parse.unquote(parts.fragment)


def copy(source, target):
    """Copies a file, or the files of a folder that Git has, with a page that lists them."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."]
    names = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        copy(source / name, target / name)
    items = "".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a></li>' for name in sorted(names))
    index = target / "index.html"
    index.write_text(f"<!DOCTYPE html><title>{target.name}</title><ul>{items}</ul>\n")
    return index


def complete(page):
    """Copies what a page links to outside docs/. mdBook makes `.html` of every `.md`, and `index.html` of a README."""
    text = page.read_text()
    for link in set(Page(page).links):
        path, _ = target_of(page, link)
        if not is_local(link) or path.is_file() or not path.is_relative_to(BOOK):
            continue
        name = path.relative_to(BOOK)
        if path.name == "README.html" and path.with_name("index.html").exists():
            text = text.replace(f'"{link}"', f'"{link.replace("README.html", "index.html")}"')
            continue
        source = REPOSITORY / name
        if not source.exists() and name.suffix == ".html":
            source = source.with_suffix(".md")
        if name.parts[0] == "docs" or not source.exists():
            continue
        copied = copy(source, BOOK / source.relative_to(REPOSITORY))
        up = "../" * len(page.relative_to(BOOK).parent.parts)
        text = text.replace(f'"{link}"', f'"{up}{copied.relative_to(BOOK)}"')
    page.write_text(text)


def main():
    docs = BOOK / "docs"
    for page in sorted(docs.rglob("*.html")):
        complete(page)
    (BOOK / "index.html").write_text('<!DOCTYPE html><meta http-equiv="refresh" content="0; url=docs/index.html">\n')
    # 404.html is for a server, at any address.
    pages = {page: Page(page) for page in docs.rglob("*.html") if page.name != "404.html"}
    wrong, checked = [], 0
    for page, content in sorted(pages.items()):
        for link in filter(is_local, content.links):
            checked += 1
            path, anchor = target_of(page, link)
            if not path.is_file():
                wrong.append(f"{page.relative_to(BOOK)}: {link}: there is no such file")
            elif anchor and path in pages and anchor not in pages[path].ids:
                wrong.append(f"{page.relative_to(BOOK)}: {link}: there is no such heading")
    if checked < 500:
        wrong.append(f"only {checked} links were found")
    print("\n".join(wrong) or f"book: {len(pages)} pages and {checked} links checked; open {docs / 'index.html'}")
    sys.exit(bool(wrong))


main()
