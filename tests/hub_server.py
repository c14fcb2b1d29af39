"""A server on loopback with the part of the Hugging Face Hub's API that huggingface_hub uses here.

Weights are uploaded as LFS objects and texts with the commit, as on the Hub.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"
LARGE = (".h5", ".onnx", ".bin", ".keras")


class Hub:
    """Repositories: a dict from name to a list of commits, each a dict from path to bytes.

    Attributes:
        address: the address of the server, such as `"http://127.0.0.1:40001"`.
        repos: the commits of each repository, the oldest first.
        private: names of the repositories that only `TOKEN` may read.
    """

    def __init__(self):
        self.repos, self.private, self.objects = {}, set(), {}
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments):
                self.hub = hub
                super().__init__(*arguments)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def commits(self, repo):
        return [sha(repo, index) for index in range(len(self.repos[repo]))]

    def add(self, repo, **files):
        """Commits files by hand, next to those that are there."""
        last = self.repos.setdefault(repo, [{}])[-1]
        self.repos[repo].append({**last, **files})


def sha(repo, index):
    return hashlib.sha1(f"{repo} {index}".encode()).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            self._resolve(*match.groups())
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if files := self._files(match[1], match[2] or "main"):
                commit, tree = files
                siblings = [{"rfilename": name} for name in tree]
                self._answer({"id": match[1], "sha": commit, "siblings": siblings})
        else:
            self._fail(404, "", f"no such page: {path}")

    def do_PUT(self):
        self.hub.objects[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_POST(self):
        path, body = unquote(urlsplit(self.path).path), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and "validate" not in path:
            self._fail(401, "", "Invalid username or password.")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/.+", path):
            self._preupload(json.loads(body)["files"])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body)["objects"])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._fail(404, "", f"no such page: {path}")

    def _create(self, wanted):
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.hub.repos:
            self._answer({"url": f"{self.hub.address}/{repo}", "error": "exists"}, status=409)
            return
        self.hub.repos[repo] = [{".gitattributes": b"*.h5 filter=lfs"}]
        if wanted.get("visibility") == "private" or wanted.get("private"):
            self.hub.private.add(repo)
        self._answer({"url": f"{self.hub.address}/{repo}", "name": repo})

    def _preupload(self, files):
        modes = {True: "lfs", False: "regular"}
        self._answer(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": modes[file["path"].endswith(LARGE)],
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
            }
        )

    def _batch(self, objects):
        for item in objects:
            upload = {"href": f"{self.hub.address}/lfs/{item['oid']}"}
            item["actions"] = {"upload": upload}
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, repo, lines):
        header = next(line["value"] for line in lines if line["key"] == "header")
        commits = self.hub.commits(repo)
        if header.get("parentCommit") not in (None, commits[-1]):
            self._fail(412, "", "A commit has happened since. Please refresh and try again.")
            return
        tree = dict(self.hub.repos[repo][-1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                tree[value["path"]] = self.hub.objects[value["oid"]]
        self.hub.repos[repo].append(tree)
        commit = self.hub.commits(repo)[-1]
        url = f"{self.hub.address}/{repo}/commit/{commit}"
        self._answer({"success": True, "commitOid": commit, "commitUrl": url})

    def _files(self, repo, revision):
        """The commit and the files of a revision; None after the answer to a wrong request."""
        secret = repo in self.hub.private and (
            self.headers.get("Authorization") != f"Bearer {TOKEN}"
        )
        if repo not in self.hub.repos or secret:
            self._fail(401, "RepoNotFound", "Repository Not Found")
            return None
        commits = self.hub.commits(repo)
        revision = commits[-1] if revision == "main" else revision
        if revision not in commits:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return revision, self.hub.repos[repo][commits.index(revision)]

    def _resolve(self, repo, revision, name):
        found = self._files(repo, revision)
        if found is None:
            return
        commit, files = found
        if name not in files:
            self._fail(404, "EntryNotFound", "Entry not found", commit)
            return
        content = files[name]
        self._send(200, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit})

    def _answer(self, value, status=200):
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status, code, text, commit=None):
        headers = {"X-Error-Code": code, "X-Error-Message": text}
        if commit:
            headers["X-Repo-Commit"] = commit
        self._send(status, b"", {name: value for name, value in headers.items() if value})

    def _send(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        pass


def _etag(content):
    return hashlib.sha256(content).hexdigest()
