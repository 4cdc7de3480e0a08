"""An inventory, the same on every node: how many pieces of each article are in stock. The standard library of Python and a sidecar are all it needs.

State and position stand in one SQLite database and change in one transaction: each command takes effect exactly once, whatever dies when.

    python3 inventory.py --port 8080 --database inventory.db --sidecar http://127.0.0.1:4001      (APP_URL=http://127.0.0.1:8080/raft)
"""

import argparse
import base64
import contextlib
import hmac
import http.server
import json
import os
import re
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_SECONDS_OFF = 300
ARTICLE = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Refusal(Exception):
    """A request that is answered with this status."""

    def __init__(self, status, **body):
        super().__init__(status, body)
        self.status = status
        self.body = body


# The state machine


def decide(database, command):
    """One command: it looks at the state and at the command, and at nothing else. Whatever it is, it gets an answer."""
    operation, article, quantity = (
        (command.get(name) for name in ("op", "article", "quantity")) if isinstance(command, dict) else (None, None, None)
    )
    if operation not in ("receive", "reserve") or not is_article(article) or not is_quantity(quantity):
        return {"ok": False, "reason": "not a command of this inventory"}
    stock = stock_of(database, article)
    if operation == "reserve" and stock < quantity:
        return {"ok": False, "reason": "not enough in stock", "stock": stock}
    stock += quantity if operation == "receive" else -quantity
    database.execute("INSERT INTO stock VALUES (?1, ?2) ON CONFLICT (article) DO UPDATE SET quantity = ?2", (article, stock))
    return {"ok": True, "stock": stock}


def is_article(value):
    return isinstance(value, str) and ARTICLE.fullmatch(value) is not None


def is_quantity(value):
    return type(value) is int and 0 < value <= 1_000_000


def stock_of(database, article):
    row = database.execute("SELECT quantity FROM stock WHERE article = ?", (article,)).fetchone()
    return 0 if row is None else row[0]


def position_of(database):
    return database.execute("SELECT position FROM applied").fetchone()[0]


class Store:
    """The database. One thread writes at a time; each reader sees one moment of it, however long it reads."""

    def __init__(self, path):
        self._path = path
        self._writing = threading.Lock()
        with contextlib.closing(self._connect()) as database:
            # A power cut may take back the last transactions, but data and position together: they are delivered again.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE IF NOT EXISTS stock (article TEXT PRIMARY KEY, quantity INTEGER NOT NULL)")
            database.execute("CREATE TABLE IF NOT EXISTS applied (position INTEGER NOT NULL)")
            database.execute("INSERT INTO applied SELECT 0 WHERE NOT EXISTS (SELECT * FROM applied)")

    def apply(self, after, commands):
        """The answers, or a refusal when commands are missing in between. What is held already is left out."""
        with self._transaction("IMMEDIATE") as database:
            position = position_of(database)
            if after > position:
                raise Refusal(409, position=position)
            results = []
            for entry in commands:
                results.append(decide(database, entry.get("command")) if entry["index"] > position else None)
                position = max(position, entry["index"])
            database.execute("UPDATE applied SET position = ?", (position,))
            return results

    @contextlib.contextmanager
    def reading(self):
        with self._transaction("DEFERRED") as database:
            yield database

    def restore(self, position, lines):
        with self._transaction("IMMEDIATE") as database:
            database.execute("DELETE FROM stock")
            database.executemany("INSERT INTO stock VALUES (?, ?)", (json.loads(line) for line in lines))
            database.execute("UPDATE applied SET position = ?", (position,))

    @contextlib.contextmanager
    def _transaction(self, kind):
        with self._writing if kind == "IMMEDIATE" else contextlib.nullcontext():
            with contextlib.closing(self._connect()) as database:
                database.execute(f"BEGIN {kind}")
                yield database
                database.execute("COMMIT")

    def _connect(self):
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous = NORMAL")
        return database


# The way to the sidecar


class Sidecar:
    def __init__(self, url):
        self._url = url

    def propose(self, command, key):
        """Its result. Whatever gets no certain answer is proposed again under the same key, and takes effect once."""
        deadline = time.monotonic() + 10
        while True:
            status, answer = self._call("/v1/commands", json.dumps(command).encode(), {"Idempotency-Key": f'"{key}"'})
            if status == 200:
                return answer["result"]
            if 400 <= status < 500 and status != 429:
                raise Refusal(status, **answer)
            if time.monotonic() > deadline:
                raise Refusal(503, retry=True)
            time.sleep(0.05)

    def barrier(self):
        """After it, this instance holds everything that was acknowledged anywhere before."""
        status, _ = self._call("/v1/barrier")
        if status != 200:
            raise Refusal(503, retry=True)

    def _call(self, path, body=None, headers=None):
        request = urllib.request.Request(self._url + path, body, {"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, None


# What it serves


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # a connection on which nothing comes is given up, and with it a body that stopped halfway

    store: Store
    sidecar: Sidecar
    secrets: list[bytes] = []
    leadership = {"event": "changed", "leader": None}

    def do_GET(self):
        self._answer({"/raft/position": self._position, "/leadership": lambda: self.leadership}.get(self.path, self._stock))

    def do_POST(self):
        hooks = {"/raft/apply": self._apply, "/raft/snapshot": self._snapshot, "/raft/leadership": self._leadership}
        self._answer(hooks.get(self.path, self._move))

    def do_PUT(self):
        self._answer({"/raft/snapshot": self._restore}.get(self.path, self._unknown))

    # The hooks

    def _position(self):
        self._check_signature(b"")
        with self.store.reading() as database:
            return {"position": position_of(database)}

    def _apply(self):
        body = b"".join(self._body())
        self._check_signature(body)
        batch = parsed(body)
        if not is_batch(batch):
            raise Refusal(400, reason="not a batch")
        return {"results": self.store.apply(batch["after"], batch["commands"])}

    def _snapshot(self):
        self._check_signature(b"".join(self._body()))
        with self.store.reading() as database:
            self.send_response(200)
            self.send_header("raft-position", str(position_of(database)))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # What is applied from now on is not in it: the transaction reads the moment at which it began.
            rows = database.execute("SELECT article, quantity FROM stock ORDER BY article")
            while lines := b"".join(json.dumps(row).encode() + b"\n" for row in rows.fetchmany(1000)):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))
            self.wfile.write(b"0\r\n\r\n")

    def _restore(self):
        position = self.headers.get("raft-position", "")
        if re.fullmatch("[0-9]{1,15}", position) is None:
            raise Refusal(400, reason="raft-position says at which command the snapshot stands")
        # The state is a stream: its position is what is signed.
        self._check_signature(position.encode())
        with tempfile.TemporaryFile() as whole:
            # To its last byte, before anything of the state is touched.
            for part in self._body(limit=None):
                whole.write(part)
            whole.seek(0)
            self.store.restore(int(position), whole)

    def _leadership(self):
        body = b"".join(self._body())
        self._check_signature(body)
        Handler.leadership = parsed(body)

    # For its own users

    def _stock(self):
        """GET /articles/<name>: linearizable, on any node."""
        article = re.fullmatch("/articles/([^/]+)", self.path)
        if article is None or not is_article(article[1]):
            self._unknown()
        self.sidecar.barrier()
        with self.store.reading() as database:
            return {"article": article[1], "stock": stock_of(database, article[1])}

    def _move(self):
        """POST /articles/<name>/receive or /reserve {"quantity": 5}. Who repeats it under one Idempotency-Key has it done once."""
        target = re.fullmatch("/articles/([^/]+)/(receive|reserve)", self.path)
        if target is None:
            self._unknown()
        body = parsed(b"".join(self._body()))
        quantity = body.get("quantity") if isinstance(body, dict) else None
        if not is_article(target[1]) or not is_quantity(quantity):
            raise Refusal(400, reason="quantity: 1 to 1000000")
        key = self.headers.get("Idempotency-Key", "").strip('"') or str(uuid.uuid4())
        return self.sidecar.propose({"op": target[2], "article": target[1], "quantity": quantity}, key)

    def _unknown(self):
        raise Refusal(404, reason="there is nothing here")

    # HTTP

    def _answer(self, handle):
        self._begun = False
        try:
            self._send(200, handle())
        except Refusal as refusal:
            self._send(refusal.status, refusal.body)
        except ConnectionError:
            self.close_connection = True
        except Exception as error:  # whatever it is, the same request may succeed later: 5xx has it sent again
            print(f"{self.command} {self.path}: {error!r}", file=sys.stderr, flush=True)
            self._send(500, {"reason": repr(error)})

    def _send(self, status, body):
        if self._begun:
            # Of an answer that has begun nothing can be taken back: the connection ends before its last chunk, or it is whole.
            self.close_connection = self.close_connection or status != 200
            return
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(204 if body is None else status)
        if content:
            self.send_header("Content-Type", "application/json")
        if body is not None:
            self.send_header("Content-Length", str(len(content)))
        if not self._is_read:
            # What is left of the body would be taken for the next request.
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def send_response(self, status, message=None):
        self._begun = True
        super().send_response(status, message)

    def parse_request(self):
        is_parsed = super().parse_request()
        if is_parsed:
            has_body = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
            self._is_read = not has_body
        return is_parsed

    def _body(self, limit=MAX_BODY_BYTES):
        """Its parts, to the last one; whatever breaks off is a ConnectionError."""
        total = 0
        for part in self._chunks() if "Transfer-Encoding" in self.headers else self._counted():
            total += len(part)
            if limit is not None and total > limit:
                raise Refusal(413, reason=f"more than {limit} bytes")
            yield part
        self._is_read = True

    def _counted(self):
        left = int(self.headers.get("Content-Length", "0"))
        while left > 0:
            part = self._read(min(left, 65536))
            left -= len(part)
            yield part

    def _chunks(self):
        while (size := int(self.rfile.readline(1024).split(b";")[0].strip() or b"-1", 16)) > 0:
            while size > 0:
                part = self._read(min(size, 65536))
                size -= len(part)
                yield part
            self.rfile.readline(2)
        if size < 0:
            raise ConnectionError("the body broke off")
        while self.rfile.readline(1024) not in (b"\r\n", b"\n", b""):
            pass

    def _read(self, size):
        part = self.rfile.read(size)
        if len(part) < size:
            raise ConnectionError("the body broke off")
        return part

    def _check_signature(self, content):
        """Standard Webhooks: one of the signatures, by one of the secrets, of lately."""
        if not self.secrets:
            return
        moment = self.headers.get("webhook-timestamp", "")
        message = f"{self.headers.get('webhook-id', '')}.{moment}.".encode("latin-1") + content
        is_recent = re.fullmatch("[0-9]{1,12}", moment) and abs(time.time() - int(moment)) <= MAX_SECONDS_OFF
        given = self.headers.get("webhook-signature", "").encode("latin-1").split(b" ")
        wanted = [b"v1," + base64.b64encode(hmac.digest(secret, message, "sha256")) for secret in self.secrets]
        if not is_recent or not any(hmac.compare_digest(one, other) for one in given for other in wanted):
            raise Refusal(401, reason="not signed by this application's sidecar")

    def log_message(self, *_):
        pass


def parsed(body):
    def no_number(text):
        raise ValueError(f"{text} is no JSON")

    try:
        # Committed is committed: a number that is too long for Python is no reason to refuse the batch that it stands in.
        return json.loads(body, parse_int=lambda text: int(text) if len(text) < 20 else float(text), parse_constant=no_number)
    except ValueError as error:
        raise Refusal(400, reason=str(error)) from error


def is_batch(batch):
    """Whole or not at all: what is no batch is seen before its first command is applied."""
    if not isinstance(batch, dict) or type(batch.get("after")) is not int or not isinstance(batch.get("commands"), list):
        return False
    indexes = [entry.get("index") if isinstance(entry, dict) else None for entry in batch["commands"]]
    return all(type(index) is int for index in indexes) and all(a < b for a, b in zip([batch["after"], *indexes], indexes))


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        # A sidecar that went away in the middle of something is an everyday matter.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--port", type=int, default=8080)
    arguments.add_argument("--database", default="inventory.db")
    arguments.add_argument("--sidecar", default="http://127.0.0.1:4001")
    options = arguments.parse_args()
    Handler.store = Store(options.database)
    Handler.sidecar = Sidecar(options.sidecar)
    secrets = re.split(r"[\s,]+", os.environ.get("APP_SECRET", "").strip())
    Handler.secrets = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets if secret]
    server = Server(("127.0.0.1", options.port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
