#!/usr/bin/env python3
"""Writes the one layer of the image, a compressed tar, from a static binary:

    contents.py BINARY ARCHITECTURE AUTHORITIES LAYER

The same input gives the same bytes: names are sorted, and every entry has one owner and no time.
"""

import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "cognito-reset-operator"
# The operator is the kubectl plugin under this name.
PLUGIN = "kubectl-cognito_reset"
MACHINES = {62: "amd64", 183: "arm64"}
# Their names in Rust. Crates for other platforms are not fetched.
PLATFORMS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
LINE = "=" * 80
FIXED = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\noperator:x:65532:65532:operator:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\noperator:x:65532:\n",
    # Where names of hosts are resolved. Both are parts of the binary.
    "etc/nsswitch.conf": "hosts: files dns\n",
}
# What is linked into the binary and is no crate.
LIBRARIES = """\
Rust's standard library, https://github.com/rust-lang/rust: MIT OR Apache-2.0
C library, if built for gnu: GNU C library, https://www.gnu.org/software/libc/: LGPL-2.1-or-later.
  To link the program with another version of it, build the program from its source.
C library, if built for musl: musl, https://musl.libc.org: MIT
Certificate authorities, /etc/ssl/certs/ca-certificates.crt: Mozilla's list, by certifi: MPL-2.0
"""


def fail(message):
    sys.exit(f"image: {message}")


class Elf:
    """A program for Linux, 64 bits, little endian."""

    def __init__(self, data):
        if data[:6] != b"\x7fELF\x02\x01":
            fail("the binary is not a program for 64-bit Linux; build the image on Linux")
        self.data = data
        self.machine = MACHINES.get(struct.unpack_from("<H", data, 18)[0])

    def needs_loader(self):
        """Returns true if another program has to load it, as for every dynamically linked one."""
        offset, size, count = self.table(32, 54)
        return any(struct.unpack_from("<I", self.data, offset + size * i)[0] == 3 for i in range(count))

    def section(self, name):
        offset, size, count = self.table(40, 58)
        names = struct.unpack_from("<H", self.data, 62)[0]
        sections = [struct.unpack_from("<IIQQQQ", self.data, offset + size * i) for i in range(count)]
        start = sections[names][4]
        for label, _, _, _, begin, length in sections:
            if self.data[start + label :].startswith(name + b"\0"):
                return self.data[begin : begin + length]
        return None

    def table(self, offset_at, size_at):
        return (struct.unpack_from("<Q", self.data, offset_at)[0], *struct.unpack_from("<HH", self.data, size_at))


def linked_crates(elf):
    """Returns the names and versions of the crates in the binary, from its list of dependencies."""
    section = elf.section(b".dep-v0")
    if section is None:
        fail("the binary has no list of its dependencies; build it with `make build`")
    packages = json.loads(zlib.decompress(section))["packages"]
    return sorted((p["name"], p["version"]) for p in packages if p.get("kind") != "build" and p["source"] != "local")


def third_party(crates, platform):
    """Returns the licences of the crates: each text once, after the crates that have it."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", platform]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    packages = {(p["name"], p["version"]): p for p in found["packages"]}
    texts, lines = {}, []
    for crate in crates:
        package = packages.get(crate) or fail(f"Cargo.lock has no {crate[0]} {crate[1]}, which the binary was built of")
        files = sorted(
            path
            for path in Path(package["manifest_path"]).parent.iterdir()
            if path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"))
        )
        name = " ".join(crate)
        source = package["repository"] or package["homepage"] or ""
        lines.append(f"{name}: {package['license']}, by {', '.join(package['authors']) or 'its authors'}, {source}")
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(f"{name}: {path.name}")
    for text, users in sorted(texts.items(), key=lambda item: item[1]):
        lines.append(f"\n{LINE}\n" + "\n".join(users) + f"\n{LINE}\n\n{text}")
    return LIBRARIES + "\n" + "\n".join(lines) + "\n"


def layer(files, links):
    """Returns a compressed tar of the files (name to mode and content), their folders, and hard links to files."""
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(folders | files.keys()):
            entry = tarfile.TarInfo(name)
            if name in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            else:
                entry.mode, content = files[name]
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        for name, file in sorted(links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.linkname = tarfile.LNKTYPE, files[file][0], file
            archive.addfile(entry)
    return gzip.compress(packed.getvalue(), compresslevel=9, mtime=0)


def main():
    binary, architecture, authorities, output = sys.argv[1:]
    data = Path(binary).read_bytes()
    elf = Elf(data)
    if elf.machine != architecture:
        fail(f"{binary} is a program for {elf.machine or 'another machine'}, and not for {architecture}")
    if elf.needs_loader():
        fail(f"{binary} is linked dynamically, and nothing else is in the image; build it with `make build`")
    files = {name: (0o444, text.encode()) for name, text in FIXED.items()}
    files["etc/ssl/certs/ca-certificates.crt"] = 0o444, Path(authorities).read_bytes()
    files["licenses/LICENSE"] = 0o444, (ROOT / "LICENSE").read_bytes()
    files["licenses/THIRD-PARTY"] = 0o444, third_party(linked_crates(elf), PLATFORMS[architecture]).encode()
    files[f"usr/local/bin/{PROGRAM}"] = 0o555, data
    packed = layer(files, {f"usr/local/bin/{PLUGIN}": f"usr/local/bin/{PROGRAM}"})
    Path(output).write_bytes(packed)
    unpacked = sum(len(content) for _, content in files.values())
    print(f"layer: {len(files)} files of {unpacked} bytes, {hashlib.sha256(packed).hexdigest()[:12]}")


main()
