"""A small server that speaks as much of the hub's API as huggingface_hub needs, out of memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

REPOSITORY = r"(?P<repository>[^/]+/[^/]+)"


@dataclass
class Repository:
    """Commits with their files, and the branches and tags that name them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    is_private: bool = False

    def find(self, revision: str) -> str | None:
        """The commit of a name, or of itself."""
        return self.names.get(revision, revision if revision in self.commits else None)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files on top of a branch; returns the commit."""
        whole = self.commits.get(self.names.get(branch, ""), {}) | files
        content = sorted((name, hashlib.sha256(data).hexdigest()) for name, data in whole.items())
        oid = hashlib.sha1(repr((len(self.commits), content)).encode()).hexdigest()
        self.commits[oid], self.names[branch] = whole, oid
        return oid


class Hub:
    """All repositories, what was asked, and where the server is."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.address = ""


class Refusal(Exception):  # noqa: N818
    """An answer that is an error of the hub's."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""

    def _respond(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            for method, pattern, answer in ROUTES:
                found = re.fullmatch(pattern.replace("REPOSITORY", REPOSITORY), path)
                if found and self.command in method:
                    answer(self, body=body, **found.groupdict())
                    return
            raise Refusal(404, "EntryNotFound")
        except Refusal as refusal:
            self._send(refusal.status, b"{}", {"X-Error-Code": refusal.code})

    do_GET = do_HEAD = do_POST = do_PUT = _respond  # noqa: N815

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """A commit and its files."""
        found = self.hub.repositories.get(repository)
        if found is None:
            raise Refusal(404, "RepoNotFound")
        commit = found.find(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound")
        return commit, found.commits[commit]

    # Publishing

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            self._send(409, json.dumps({"url": f"{self.hub.address}/{name}"}).encode())
            return
        # Which of the two is sent depends on the client's age.
        is_private = asked.get("private") is True or asked.get("visibility") == "private"
        self.hub.repositories[name] = Repository(is_private=is_private)
        self._send_json({"url": f"{self.hub.address}/{name}", "name": name})

    def validate(self, body: bytes) -> None:
        assert json.loads(body)["content"].startswith("---\n")
        self._send_json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, repository: str, revision: str) -> None:
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._send_json({"files": modes})

    def batch(self, body: bytes, repository: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.address}/upload/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self._send_json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.uploads[oid] = body
        self._send(200, b"")

    def commit(self, body: bytes, repository: str, revision: str) -> None:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        oid = self.hub.repositories[repository].commit(files, revision)
        url = f"{self.hub.address}/{repository}/commit/{oid}"
        self._send_json({"success": True, "commitOid": oid, "commitUrl": url})

    # Fetching

    def describe(self, body: bytes, repository: str, revision: str = "main") -> None:
        commit, files = self._find(repository, revision)
        siblings = [{"rfilename": name} for name in files]
        self._send_json({"id": repository, "sha": commit, "siblings": siblings, "tags": []})

    def list_tree(self, body: bytes, repository: str, revision: str) -> None:
        _, files = self._find(repository, revision)
        self._send_json(
            [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in files.items()
            ]
        )

    def resolve(self, body: bytes, repository: str, revision: str, file: str) -> None:
        commit, files = self._find(repository, revision)
        if file not in files:
            raise Refusal(404, "EntryNotFound")
        headers = {"ETag": f'"{_etag(files[file])}"', "X-Repo-Commit": commit}
        self._send(200, files[file], headers)


ROUTES: tuple[tuple[tuple[str, ...], str, Callable[..., None]], ...] = (
    (("POST",), r"/api/repos/create", Handler.create),
    (("POST",), r"/api/validate-yaml", Handler.validate),
    (("POST",), r"/api/models/REPOSITORY/preupload/(?P<revision>[^/]+)", Handler.preupload),
    (("POST",), r"/REPOSITORY\.git/info/lfs/objects/batch", Handler.batch),
    (("PUT",), r"/upload/(?P<oid>\w+)", Handler.upload),
    (("POST",), r"/api/models/REPOSITORY/commit/(?P<revision>[^/]+)", Handler.commit),
    (("GET",), r"/api/models/REPOSITORY", Handler.describe),
    (("GET",), r"/api/models/REPOSITORY/revision/(?P<revision>[^/]+)", Handler.describe),
    (("GET",), r"/api/models/REPOSITORY/tree/(?P<revision>[^/]+)/?", Handler.list_tree),
    (("GET", "HEAD"), r"/REPOSITORY/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub with nothing in it, on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
