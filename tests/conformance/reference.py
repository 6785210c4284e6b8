"""A small tus 1.0.0 server, in memory, that can be told to break one requirement at a time: what the conformance suite
is tested with. It is written from the specification, not from tusserver."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,"
    "concatenation,concatenation-unfinished"
)
MAXIMUM = 1_000_000
LIFE = 2.0
OCTETS = "application/offset+octet-stream"
INTEGER = re.compile(r"[0-9]+")


class Refused(Exception):
    """Answer with this status; nothing is changed."""

    def __init__(self, status: int) -> None:
        self.status = status


@dataclass
class Upload:
    length: int | None
    metadata: str | None
    concat: str | None
    data: bytearray = field(default_factory=bytearray)
    parts: tuple[str, ...] = ()
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def final(self) -> bool:
        return self.concat is not None and self.concat.startswith("final")


class Server(ThreadingHTTPServer):
    """``broken``: the requirement that this one breaks, or an empty text; a word behind it names one way to."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, broken: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.broken = broken
        self.uploads: dict[str, Upload] = {}
        self.gone: set[str] = set()
        self.alike: dict[int | None, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what this is for."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def breaks(self, requirement: str) -> bool:
        return self.server.broken == requirement

    # What comes in

    def handle_expect_100(self) -> bool:
        self.expected = True
        return True  # invited only once the request has been accepted

    def _serve(self) -> None:
        self.expected = getattr(self, "expected", False)
        self.answered: list[tuple[str, str]] = []
        self.taken = False
        try:
            status = self._carry_out(self._method())
        except Refused as refused:
            status = refused.status
        self._answer(status)
        self.expected = False

    do_GET = do_PUT = do_POST = do_HEAD = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _method(self) -> str:
        override = self.headers.get("X-HTTP-Method-Override")
        if override is None or self.breaks("CORE-16"):
            return self.command
        if self.breaks("CORE-17") and self.command != "POST":
            return self.command
        return override

    def _carry_out(self, method: str) -> int:
        if "Transfer-Encoding" in self.headers and "Content-Length" in self.headers:
            self.close_connection = True
            raise Refused(400)
        if method == "OPTIONS":
            return self._options()
        if method != "GET":
            self._check_version()
        upload_id = self.path.removeprefix("/files").strip("/")
        if method == "POST":
            return self._create()
        if self.breaks("CORE-01") and method in ("HEAD", "PATCH"):
            raise Refused(501)
        upload = self._find(upload_id)
        match method:
            case "HEAD":
                return self._head(upload)
            case "PATCH":
                return self._patch(upload)
            case "DELETE":
                del self.server.uploads[upload_id]
                self.server.gone.add(upload_id)
                return 200 if self.breaks("TERM-03") else 204
            case "GET":
                return self._get(upload)
        raise Refused(405)

    def _check_version(self) -> None:
        version = self.headers.get("Tus-Resumable")
        if version == "1.0.0" or (version is None and self.breaks("CORE-09 missing")):
            return
        if self.breaks("CORE-09"):
            raise Refused(400)
        if self.breaks("CORE-11"):
            upload = self.server.uploads.get(self.path.removeprefix("/files").strip("/"))
            if upload is not None and self.command == "PATCH":
                upload.data += b"x"
        if not self.breaks("CORE-10"):
            self.answered.append(("Tus-Version", "1.0.0"))
        raise Refused(412)

    def _find(self, upload_id: str) -> Upload:
        upload = self.server.uploads.get(upload_id)
        if upload is None:
            raise Refused(404)
        if upload.expires < time.time() and not self._whole(upload):
            raise Refused(410)
        return upload

    def _options(self) -> int:
        said = self.headers.get("Tus-Resumable")
        if self.breaks("CORE-46") and said not in (None, "1.0.0"):
            raise Refused(412)
        if not self.breaks("CORE-43"):
            versions = {"CORE-04": "one", "CORE-05": "0.2.2,1.0.0"}.get(self.server.broken, "1.0.0")
            self.answered.append(("Tus-Version", versions))
        names = EXTENSIONS.split(",")
        hidden = {
            "CREA-02": "creation", "CREA-11": "creation-defer-length", "CWU-02": "creation-with-upload",
            "EXP-02": "expiration", "CSUM-02": "checksum", "CSUM-16": "checksum-trailer", "TERM-01": "termination",
            "CONC-01": "concatenation", "CWU-03": "creation", "CONC-11": "concatenation-unfinished",
        }.get(self.server.broken)  # fmt: skip
        said_names = ",".join(name for name in names if name != hidden)
        said_names = {"CORE-12": "creation,creation,!", "CORE-13": ""}.get(self.server.broken, said_names)
        self.answered.append(("Tus-Extension", said_names))
        algorithms = {"CSUM-10": "md5", "CSUM-11": "SHA1,sha1", "CSUM-13": "sha1,sha256"}
        if not self.breaks("CSUM-12"):
            self.answered.append(("Tus-Checksum-Algorithm", algorithms.get(self.server.broken, "sha1,md5")))
        self.answered.append(("Tus-Max-Size", "many" if self.breaks("CORE-14") else str(MAXIMUM)))
        return 204

    # Creating

    def _create(self) -> int:
        said, deferred = self._one("Upload-Length"), self._one("Upload-Defer-Length")
        concat, metadata = self.headers.get("Upload-Concat"), self._metadata()
        if concat is not None and concat.startswith("final;"):
            if said is not None and not self.breaks("CONC-04 length"):
                raise Refused(400)
            return self._create_final(concat, metadata)
        if concat is not None and concat != "partial" and not self.breaks("CONC-06"):
            raise Refused(400)
        length = self._length(said, deferred)
        if length is not None and length > MAXIMUM and not self.breaks("CREA-25"):
            raise Refused(413)
        upload = Upload(length, metadata, concat, expires=time.time() + LIFE)
        body = self._body_size()
        if body:
            if self.headers.get("Content-Type") != OCTETS and not self.breaks("CWU-05"):
                raise Refused(415)
            if length is not None and body > length:
                raise Refused(413)
            self._receive(upload)
        self._keep(upload)
        if self.headers.get("Content-Type") == OCTETS and not self.breaks("CWU-07"):
            offset = len(upload.data) + self.breaks("CWU-08")
            self.answered.append(("Upload-Offset", str(offset)))
        return 200 if self.breaks("CREA-27") else 201

    def _length(self, said: str | None, deferred: str | None) -> int | None:
        if (said is None) == (deferred is None) and not self.breaks("CORE-03"):
            raise Refused(400)
        if deferred is not None:
            if deferred != "1":
                raise Refused(400)
            return None
        if said is None or not INTEGER.fullmatch(said):
            if not self.breaks("CORE-03"):
                raise Refused(400)
            return 0
        return int(said)

    def _create_final(self, concat: str, metadata: str | None) -> int:
        ids = tuple(url.rstrip("/").rpartition("/")[2] for url in concat.removeprefix("final;").split())
        parts = [self.server.uploads.get(each) for each in ids]
        missing = not ids or any(part is None or part.concat != "partial" for part in parts)
        if missing and not self.breaks("CONC-06 unknown"):
            raise Refused(400)
        if sum(part.length or 0 for part in parts if part is not None) > MAXIMUM:
            raise Refused(413)
        if self.breaks("CONC-12"):
            metadata = next((part.metadata for part in parts if part is not None), None)
        said = self._one("Upload-Length")
        length = int(said) if said is not None else None
        self._keep(Upload(length, metadata, concat, parts=ids, expires=time.time() + LIFE))
        return 201

    def _keep(self, upload: Upload) -> None:
        upload_id = secrets.token_hex(16)
        if self.breaks("CREA-28 alike"):
            upload_id = self.server.alike.setdefault(upload.length, upload_id)
        self.server.uploads.setdefault(upload_id, upload)
        path = "nowhere" if self.breaks("CREA-28") else f"files/{upload_id}"
        self.answered.append(("Location", f"http://127.0.0.1:{self.server.server_address[1]}/{path}"))
        if not self.breaks("EXP-05") and not self._whole(upload):
            self.answered.append(self._expires(upload))

    def _expires(self, upload: Upload) -> tuple[str, str]:
        date = formatdate(upload.expires + 1, usegmt=True)
        return "Upload-Expires", str(upload.expires) if self.breaks("EXP-10") else date

    def _metadata(self) -> str | None:
        raw = self.headers.get("Upload-Metadata")
        if not raw:
            return raw
        keys = []
        for pair in raw.split(","):
            key, *values = pair.split(" ")
            keys.append(key)
            if not key and not self.breaks("CREA-16"):
                raise Refused(400)
            if len(values) > 1 and not self.breaks("CREA-15"):
                raise Refused(400)
            if not key.isascii():
                raise Refused(400)
            try:
                base64.b64decode("".join(values), validate=True)
            except ValueError:
                if not self.breaks({"a b c": "CREA-15", "key  dmFs": "CREA-15"}.get(raw, "CREA-18")):
                    raise Refused(400) from None
        if len(set(keys)) < len(keys) and not self.breaks("CREA-19") and "" not in keys:
            raise Refused(400)
        return raw[:4096] if self.breaks("CREA-24 long") else raw

    # What there is

    def _head(self, upload: Upload) -> int:
        tell = self.answered.append
        offset = self._offset(upload)
        if offset is not None and not self.breaks("CORE-19"):
            hidden = self.breaks("CONC-20") and upload.concat == "partial"
            if not hidden:
                tell(("Upload-Offset", f"+{offset}" if self.breaks("CORE-02") else str(offset)))
        length = self._whole_length(upload)
        if length is not None and not self.breaks("CORE-20"):
            wrong = self.breaks("CONC-04") and upload.final
            if not (self.breaks("CONC-21") and upload.final):
                tell(("Upload-Length", str(length + wrong)))
        if (length is None and not upload.final and not self.breaks("CREA-10")) or (
            length is not None and self.breaks("CREA-07")
        ):
            tell(("Upload-Defer-Length", "yes" if self.breaks("CREA-06") else "1"))
        if upload.metadata is not None:
            pairs = upload.metadata.split(",")
            echoed = ",".join(sorted(pairs)) if self.breaks("CREA-24") else upload.metadata
            tell(("Upload-Metadata", f"{echoed}, " if self.breaks("CREA-14") else echoed))
        if upload.concat is not None:
            tell(("Upload-Concat", upload.concat.split(";")[0] + ";" if self.breaks("CONC-22") else upload.concat))
        if not self._whole(upload):
            tell(self._expires(upload))
        if not self.breaks("CORE-24"):
            tell(("Cache-Control", "no-store"))
        return 200

    def _offset(self, upload: Upload) -> int | None:
        if not upload.final:
            return len(upload.data)
        if not all(self._whole(part) for part in self._parts(upload)):
            return None
        return len(self._bytes(upload)) - self.breaks("CONC-19")

    def _parts(self, upload: Upload) -> list[Upload]:
        return [self.server.uploads[each] for each in upload.parts if each in self.server.uploads]

    def _whole_length(self, upload: Upload) -> int | None:
        if not upload.final or upload.length is not None:
            return upload.length
        lengths = [part.length for part in self._parts(upload)]
        return None if None in lengths else sum(length or 0 for length in lengths)

    def _whole(self, upload: Upload) -> bool:
        return upload.final or len(upload.data) == upload.length

    def _bytes(self, upload: Upload) -> bytes:
        if not upload.final:
            return bytes(upload.data)
        parts = self._parts(upload)
        joined = b"".join(bytes(part.data) for part in (parts[::-1] if self.breaks("CONC-07") else parts))
        return joined + bytes(upload.data)

    def _get(self, upload: Upload) -> int:
        self.content = self._bytes(upload)
        return 200

    # Appending

    def _patch(self, upload: Upload) -> int:
        if self.headers.get("Content-Type") != OCTETS:
            raise Refused(415)
        if upload.final:
            if self.breaks("CONC-17"):
                upload.data += b"x"
            raise Refused(409 if self.breaks("CONC-16") else 403)
        offset = self._at(upload)
        self._declare(upload)
        size = self._body_size()
        if (
            upload.length is not None
            and size is not None
            and offset + size > upload.length
            and not self.breaks("CORE-36")
            and not (self.breaks("CORE-36 complete") and offset == upload.length)
        ):
            raise Refused(413)
        self._receive(upload)
        if not self.breaks("CORE-35"):
            found = len(upload.data) + (self.breaks("CORE-36") and bool(size))
            self.answered.append(("Upload-Offset", str(found)))
        upload.expires = time.time() + LIFE
        if not self._whole(upload) and not self.breaks("EXP-04"):
            self.answered.append(self._expires(upload))
        return 200 if self.breaks("CORE-34") else 204

    def _at(self, upload: Upload) -> int:
        said = self._one("Upload-Offset")
        if said is None or not INTEGER.fullmatch(said) or not said.isascii():
            if self.breaks("CORE-02"):
                return len(upload.data)
            raise Refused(400)
        if int(said) != len(upload.data):
            if self.breaks("CORE-31"):
                upload.data += b"x"
            raise Refused(400 if self.breaks("CORE-30") else 409)
        return int(said)

    def _declare(self, upload: Upload) -> None:
        said = self._one("Upload-Length")
        if said is None:
            return
        if upload.length is not None and not self.breaks("CREA-09"):
            raise Refused(400)
        if not INTEGER.fullmatch(said) or int(said) < len(upload.data):
            raise Refused(400)
        upload.length = int(said)

    def _receive(self, upload: Upload) -> None:
        """Take the body; what has a checksum counts only once it has been verified."""
        if self.expected:
            self.send_response_only(100)
            self.end_headers()
        self.taken = True
        twice = self.breaks("CSUM-04 two") and len(self.headers.get_all("Upload-Checksum") or []) > 1
        said = None if twice else self._one("Upload-Checksum")
        follows = "Upload-Checksum" in (self.headers.get("Trailer") or "")
        self._known(said)
        held = bytearray()
        start = len(upload.data)
        early = self.breaks("CSUM-09")
        for block in self._blocks():
            if (said is not None or follows) and not early:
                held += block
                continue
            with upload.lock:
                if len(upload.data) != start:
                    self.close_connection = True
                    raise Refused(409)  # somebody else goes on
                room = len(block) if upload.length is None or "CORE-36" in self.server.broken else upload.length - start
                upload.data += block[:room]
                start = len(upload.data)
                held += block
        if follows:
            said = self.trailers.get("upload-checksum")
        if said is not None:
            self._verify(said, bytes(held))
            if not early:
                upload.data += held

    def _known(self, said: str | None) -> None:
        if said is None:
            return
        name, _, value = said.partition(" ")
        try:
            decoded = base64.b64decode(value, validate=True)
        except ValueError:
            decoded = b""
        if self.breaks("CSUM-04"):
            return
        if name not in ("sha1", "md5") or not decoded or len(decoded) != hashlib.new(name).digest_size:
            raise Refused(400)

    def _verify(self, said: str, data: bytes) -> None:
        name, _, value = said.partition(" ")
        if self.breaks("CSUM-04") or (self.breaks("CSUM-13") and name != "sha1"):
            return
        if self.breaks("CSUM-04 empty") and not data:
            return
        if base64.b64decode(value) != hashlib.new(name, data).digest():
            if self.breaks("CSUM-08"):
                self.server.uploads[self.path.rpartition("/")[2]].data += data
            raise Refused(460)

    def _blocks(self) -> Iterator[bytes]:
        self.trailers: dict[str, str] = {}
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            yield from self._chunks()
            return
        left = self._body_size() or 0
        while left:
            block = self.rfile.read1(min(left, 65536))
            if not block:
                self.close_connection = True
                raise Refused(400)
            left -= len(block)
            yield block

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.lower()] = value.strip()

    def _body_size(self) -> int | None:
        if "Transfer-Encoding" in self.headers:
            return None
        return int(self.headers.get("Content-Length") or 0)

    def _one(self, name: str) -> str | None:
        values = self.headers.get_all(name) or []
        if len(values) > 1:
            raise Refused(400)
        return values[0] if values else None

    # What goes out

    def _answer(self, status: int) -> None:
        body = getattr(self, "content", b"") if status == 200 else b""
        self.content = b""
        if self._body_size() != 0 and not self.taken:
            self.close_connection = True  # the body was never asked for
        self.send_response_only(status)
        if self.command != "OPTIONS" and not (self.breaks("CORE-07") and status >= 400):
            self.send_header("Tus-Resumable", "1.0" if self.breaks("CORE-08") else "1.0.0")
        for name, value in self.answered:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def reference(broken: str = "") -> Iterator[str]:
    """The URL of a reference server that breaks one requirement, or none."""
    server = Server(broken)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
