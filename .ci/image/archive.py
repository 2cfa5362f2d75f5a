#!/usr/bin/env python3
"""Writes an image in the layout of OCI as one file, for machines without a network:

    archive.py FOLDER NAME:TAG FILE

The file is a layout of OCI and an archive of Docker at once, so that docker, podman, ctr and skopeo load it. The same image
gives the same bytes.
"""

import io
import json
import sys
import tarfile
from pathlib import Path


def blob(digest):
    return f"blobs/{digest.replace(':', '/')}"


def main():
    folder, name, output = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    entry = json.loads((folder / "index.json").read_text())["manifests"][0]
    manifest = json.loads((folder / blob(entry["digest"])).read_text())
    parts = [part["digest"] for part in (manifest["config"], *manifest["layers"])]
    named = {"io.containerd.image.name": f"docker.io/library/{name}", "org.opencontainers.image.ref.name": name.partition(":")[2]}
    described = {key: entry[key] for key in ("mediaType", "size", "digest")} | {"annotations": named}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [described]}
    docker = [{"Config": blob(parts[0]), "RepoTags": [name], "Layers": [blob(part) for part in parts[1:]]}]
    files = {blob(digest): (folder / blob(digest)).read_bytes() for digest in (entry["digest"], *parts)}
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["index.json"] = json.dumps(index).encode()
    files["manifest.json"] = json.dumps(docker).encode()
    with tarfile.open(output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = 0o444, len(files[path])
            archive.addfile(entry, io.BytesIO(files[path]))


main()
