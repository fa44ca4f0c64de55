"""The services of docker-compose.airflow.yml as processes of this machine, without containers.

What Compose would start is started: the file's commands, with its environment, in the order of
its depends_on, watched by its health checks. Changed is only what containers have of their own:

- host names and ports become 127.0.0.1 and free ports;
- /opt is a folder that is filled as the Dockerfile fills it, and the volumes and secrets lie in it;
- the images of others: PostgreSQL and Redis are Debian's, moto stands for the object store.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from compose.rendering import ROOT, dockerfile, rendered
from conftest import QUICK_JAVA
from nocturne_airflow.processes import MARK, end, free_port, start, tail
from waiting import until

__all__ = ["POSTGRES", "Containers"]

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
_WITHIN_S = 180.0
_PUBLISHED = {"AIRFLOW_PORT": ("airflow-apiserver", 8080), "MLFLOW_PORT": ("mlflow", 5000)}


class Containers:
    """Runs services; ``stop`` ends every process.

    Args:
        folder: an empty one, which PostgreSQL's user can enter, for all that containers hold.
        values: what .env says.
    """

    def __init__(self, folder: Path, values: Mapping[str, str]) -> None:
        self.folder = folder
        self._id = secrets.token_hex(8)
        self._ports = {place: free_port() for place in _PUBLISHED.values()}
        published = {name: str(self._ports[place]) for name, place in _PUBLISHED.items()}
        self.values = {**values, **published}
        self.services = rendered(self.values)
        self._names = "|".join(sorted(self.services, key=len, reverse=True))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._done: set[str] = set()
        self._store: ThreadedMotoServer | None = None
        _image(folder)
        self._mount_secrets()
        for layer in (folder / "opt/nocturne/conf/env").iterdir():
            layer.write_text(self._translated(layer.read_text()))

    def up(self, *names: str) -> None:
        """Start these services, and before them what they depend on."""
        for name in names:
            if name in self._running or name in self._done:
                continue
            for other, how in self.services[name].get("depends_on", {}).items():
                self.up(other)
                if how["condition"] == "service_healthy":
                    self.healthy(other)
            if name == "garage":
                self._store = self._object_store()
                self._done.add(name)
            elif self.services[name]["restart"] == "no":
                self.run(name)
                self._done.add(name)
            else:
                command = self._postgres() if name == "postgres" else self._command(name)
                self._running[name] = start(command, self._env(name), self.log(name), self.folder)

    def run(self, name: str, *command: str, **env: str) -> str:
        """A command in the environment of a service, its own without one; its output.

        It must succeed.
        """
        done = subprocess.run(
            command or self._command(name),
            env=self._env(name) | env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name} {command}\n{done.stdout}"
        return done.stdout

    def healthy(self, name: str) -> None:
        """Wait until the health check of a service passes."""
        if name == "garage":
            return  # its own program, which only its image has
        kind, *test = self.services[name]["healthcheck"]["test"]
        words = [self._translated(word, name) for word in test]
        said = ""

        def passes() -> bool:
            nonlocal said
            done = subprocess.run(
                ["sh", "-c", *words] if kind == "CMD-SHELL" else words,
                env=self._env(name),
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said = f"{done.stdout[-2000:]}\n{tail(self.log(name), 60)}"
            ended = done.returncode != 0 and self._running[name].poll() is not None
            assert not ended, f"{name} ended: {said}"
            return done.returncode == 0

        until(passes, lambda: f"{name} is not healthy: {said}", _WITHIN_S)

    def recreate(self, name: str, **values: str) -> None:
        """Stop a service and start it anew with other values in .env."""
        old = self._running.pop(name)
        end("", [old.pid])  # and what it has started
        old.wait()
        self.services = rendered({**self.values, **values})
        self.up(name)

    def objects(self) -> dict[str, int]:
        """Key -> size of what is in the object store."""
        found = self._bucket().objects.all()
        return {entry.key: entry.size for entry in found}

    def port(self, service: str, port: int) -> int:
        """Where this machine has a port of a service."""
        if (service, port) not in self._ports:
            self._ports[service, port] = free_port()
        return self._ports[service, port]

    def log(self, name: str) -> Path:
        return self.folder / "output" / f"{name}.log"

    def stop(self) -> None:
        """End everything; PostgreSQL first, while it can still clean up behind itself."""
        if "postgres" in self._running:
            self._running["postgres"].send_signal(signal.SIGINT)
            self._running["postgres"].wait(60)
        end(self._id, [process.pid for process in self._running.values()])
        for process in self._running.values():
            process.wait()
        if self._store is not None:
            self._store.stop()

    def _mount_secrets(self) -> None:
        """Put each secret where the containers that have it find it."""
        for service in self.services.values():
            for used in service.get("secrets", []):
                name = used if isinstance(used, str) else used["source"]
                target = f"/run/secrets/{name}" if isinstance(used, str) else used["target"]
                source = Path(self.values["NOCTURNE_SECRETS"]) / name
                place = Path(_translated_paths(target, self.folder))
                place.parent.mkdir(parents=True, exist_ok=True)
                if source.exists() and not place.exists():  # tls_pem comes from the user
                    place.symlink_to(source)

    def secret(self, name: str) -> str:
        return (Path(self.values["NOCTURNE_SECRETS"]) / name).read_text()

    def _command(self, name: str) -> list[str]:
        words = [self._translated(word, name) for word in self.services[name]["command"]]
        for at, word in enumerate(words[:-1]):
            if word == "--host":
                words[at + 1] = "127.0.0.1"
        return words

    def _env(self, name: str) -> dict[str, str]:
        """The image's and the service's environment; none of this process's, but for its paths."""
        path = [str(Path(sys.executable).parent), str(POSTGRES), os.environ["PATH"]]
        kept = ("PYTHONPATH", "JAVA_HOME", "TMPDIR", *QUICK_JAVA)
        home = self.folder / "home" / "nocturne"
        given = self.services[name].get("environment", {})
        image = " ".join(" ".join(words) for words in dockerfile("runtime") if words[0] == "ENV")
        return {
            **{key: os.environ[key] for key in kept if key in os.environ},
            **dict(
                re.findall(
                    r"((?:AIRFLOW|NOCTURNE)_HOME)=(\S+)", _translated_paths(image, self.folder)
                )
            ),
            **{key: self._translated(value) for key, value in given.items()},
            **({"PGHOST": "127.0.0.1"} if "PGHOST" in given else {}),
            "PATH": os.pathsep.join(path),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            MARK: self._id,
            # Ports that the file's commands do not name; addresses that are a container's own.
            "AIRFLOW__API__HOST": "127.0.0.1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PGPORT": str(self.port("postgres", 5432)),
            "AIRFLOW__API__PORT": str(self.port("airflow-apiserver", 8080)),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(
                self.port("airflow-scheduler", 8974)
            ),
        }

    def _translated(self, text: str, service: str | None = None) -> str:
        """A string of the file as it reads on this machine.

        Args:
            service: of whose command it is a part: there a bare port is its own.
        """

        def place(found: re.Match[str]) -> str:
            name, port = found["name"] or service, found["port"]
            if name is None:
                return found[0]
            return ("127.0.0.1:" if found["name"] else "") + str(self.port(name, int(port)))

        text = re.sub(
            rf"(?:\b(?P<name>{self._names}):|(?<![\w.]))(?P<port>\d{{4,5}})\b", place, text
        )
        text = re.sub(rf"@(?:{self._names})\b", "@127.0.0.1", text)
        return _translated_paths(text.replace("0.0.0.0", "127.0.0.1"), self.folder)

    def _postgres(self) -> list[str]:
        """What the image does at its first start; as a user of its own, since it refuses root."""
        data, password = self.folder / "postgres", self.folder / "postgres.password"
        data.mkdir()
        password.write_text(self.secret("postgres_password"))
        user = []
        if os.getuid() == 0:
            shutil.chown(data, "postgres", "postgres")
            shutil.chown(password, "postgres", "postgres")
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.run(
            "postgres",
            *user,
            "initdb",
            f"--pgdata={data}",
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "--no-sync",
        )
        return [
            *user,
            "postgres",
            "-D",
            str(data),
            "-k",
            str(data),
            "-c",
            "fsync=off",
            "-c",
            "listen_addresses=127.0.0.1",
        ]

    def _object_store(self) -> ThreadedMotoServer:
        server = ThreadedMotoServer("127.0.0.1", self.port("garage", 3900), verbose=False)
        server.start()
        self._bucket().create()
        return server

    def _bucket(self) -> Any:
        key = dict(re.findall(r"^(\w+) = (.*)$", self.secret("s3_key"), re.MULTILINE))
        store = boto3.resource(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port('garage', 3900)}",
            region_name="us-east-1",
            **key,
        )
        return store.Bucket(self.services["garage"]["environment"]["GARAGE_DEFAULT_BUCKET"])


def _image(folder: Path) -> None:
    """Copy what the Dockerfile copies, and make its folders."""
    for word, *words in dockerfile("runtime"):
        if word == "RUN" and "install" in words:
            for made in (w for w in words if w.startswith("/opt/")):
                Path(_translated_paths(made, folder)).mkdir(parents=True, exist_ok=True)
        if word != "COPY" or words[0].startswith("--from"):
            continue
        *sources, target = words
        if not target.startswith("/"):
            target = f"/opt/nocturne/{target}"
        for source in sources:
            into = Path(_translated_paths(target, folder))
            if target.endswith("/"):
                into = into / Path(source).name
            elif (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
                continue
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, into)
    for path in ("tmp", "home/nocturne"):
        (folder / path).mkdir(parents=True)


def _translated_paths(text: str, folder: Path) -> str:
    def place(found: re.Match[str]) -> str:
        return sys.prefix if found[0] == "/opt/venv" else f"{folder}{found[0]}"

    own = r"opt/venv\b|(?:opt|tmp|home/nocturne|run/secrets)/(?=[\w.])"
    return re.sub(rf"(?<![\w/.])/(?:{own})", place, text)
