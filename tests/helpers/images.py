"""The Dockerfiles built for real, without a Docker engine: buildah, on a Debian that debootstrap made.

All lies in a folder that the test throws away, or in ORCH_TEST_IMAGES=DIR, where layers are found again. pip in the
build is told what pip here is told (mirrors, certificates, wheels of torch) by the build's secret, and the local
folders in it are mounted, so that nothing of this machine is in a layer.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
OWN = ("cache-dir", "config-file", "log", "prefix", "python", "require-virtualenv", "root", "src", "target", "user")
"""Of pip's settings those that say where things lie here; the build has its own."""
MOUNTED = "/run/pip"
"""Folders of this machine that pip reads, in the build."""


def needed(*tools: str) -> None:
    """Skips where a tool is absent."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("building an image and running it need root on Linux")
    if absent := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(absent)} not installed; on Debian: make setup-services")


class PipSettings:
    """What `pip config list` says here, as a pip.conf for the build."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.volumes: list[str] = []
        lines = ["[global]", "timeout = 180"]
        for line in sorted(listed.splitlines(), key=lambda text: not text.startswith(":env:")):
            name, _, value = line.partition("=")
            key = name.rpartition(".")[2]
            if key not in OWN and not any(known.startswith(f"{key} = ") for known in lines):
                lines.append(f"{key} = {' '.join(self._mounted(word) for word in ast.literal_eval(value).split())}")
        self.text = "\n".join(lines) + "\n"

    def _mounted(self, word: str) -> str:
        path = Path(word.removeprefix("file://"))
        if not path.is_absolute():
            return word
        held = path.parent if path.name == "simple" else path  # an index's links may lead beside it
        self.volumes.append(f"{held}:{MOUNTED}{held}:ro")
        return word.replace(str(path), f"{MOUNTED}{path}")


class Images:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._options = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self._options += ["--storage-driver", "overlay"]

    def buildah(self, *words: str, log: Path | None = None) -> str:
        """What it printed; fails with the end of what it said where it does not succeed."""
        command = ["nice", "-n", "5", "buildah", *self._options, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if log is not None:
            log.write_text(done.stdout + done.stderr)
        assert done.returncode == 0, f"buildah {words[0]}:\n{(done.stdout + done.stderr)[-3000:]}"
        return done.stdout.strip()

    def has(self, name: str) -> bool:
        found = json.loads(self.buildah("images", "--json") or "[]")
        return any(name in (image.get("names") or []) for image in found)

    def make_base(self) -> None:
        """Debian's own packages under the name that the Dockerfiles begin with."""
        if self.has(BASE):
            return
        root = self.folder / "debian"
        command = ["nice", "-n", "5", "debootstrap", "--variant=minbase", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no Debian to build on: {done.stdout.strip().splitlines()[-1]}")
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("commit", "--quiet", container, BASE)
        self.buildah("rm", container)
        shutil.rmtree(root)

    def build(self, dockerfile: str, tag: str, context: Path, log: Path, *, secret: str) -> None:
        """`secret`: stands in pip's configuration, where nothing reads it."""
        pip = PipSettings()
        conf = self.folder / "pip.conf"
        conf.write_text(f"{pip.text}# {secret}\n")
        volumes = [word for volume in pip.volumes for word in ("--volume", volume)]
        options = ["--isolation", "chroot", "--network", "host", "--pull-never"]
        options += ["--layers"] if "ORCH_TEST_IMAGES" in os.environ else []  # else each step is copied for nobody
        # buildah 1.28 does not look for the Dockerfile's own .dockerignore, as BuildKit does.
        options += [
            "--ignorefile",
            str(context / f"{dockerfile}.dockerignore"),
            "--file",
            str(context / dockerfile),
        ]
        try:
            secrets = ["--secret", f"id=pip,src={conf}"]
            self.buildah("bud", *options, *secrets, *volumes, "--tag", tag, str(context), log=log)
        finally:
            conf.unlink()

    def configuration(self, tag: str) -> dict[str, object]:
        """As in the OCI image: Env, User, Labels, ..."""
        found: dict[str, object] = json.loads(self.buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]
        return found

    def mount(self, tag: str) -> tuple[str, Path]:
        """A container of the image, to be given to `unmount`, and where its root is."""
        container = self.buildah("from", "--pull-never", tag)
        return container, Path(self.buildah("mount", container))

    def unmount(self, container: str) -> None:
        self.buildah("umount", container)
        self.buildah("rm", container)

    def found(self, *texts: str) -> set[str]:
        """Those of the texts that stand in any layer, the build's own too, or in an image's description."""
        places = [str(path) for path in (self.folder / "store").iterdir() if path.name.startswith("overlay")]
        command = ["grep", "--recursive", "--only-matching", "--no-filename", "--text", "--fixed-strings"]
        words = [word for text in texts for word in ("-e", text)]
        done = subprocess.run(
            [*command, "--exclude-dir=merged", *words, *places], capture_output=True, text=True, check=False
        )
        return set(done.stdout.splitlines())


def copy_context(folder: Path, paths: Sequence[str]) -> Path:
    """What git has of the paths in the working tree, so that the build sees no file that others are writing."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target)
    return folder
