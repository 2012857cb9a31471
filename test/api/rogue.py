# SPDX-License-Identifier: Apache-2.0
"""A server on 127.0.0.1 that has the console's TLS key and misbehaves as it is told: it answers each
request by the next of its steps, and by the last one from then on."""
import contextlib
import json
import socket
import ssl
import threading


class Rogue:
    def __init__(self, console, *steps):
        self.steps = list(steps)
        self.requests = []    # (method, target, headers by lower-case name, body)
        self.connections = 0
        self.heard = b""      # what was no request
        self.lock = threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(console.state_dir + "/tls.crt", console.state_dir + "/tls.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open, self.threads = set(), []

    def __enter__(self):
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *_):
        # Every thread ends before its file descriptor may become that of the next Rogue.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()
        self.hang_up()
        for thread in self.threads:
            thread.join()

    def hang_up(self):
        """Ends all connections."""
        with self.lock:
            for s in self.open:
                with contextlib.suppress(OSError):  # the client was first
                    socket.socket.shutdown(s, socket.SHUT_RDWR)

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with self.lock:
                self.connections += 1
                self.open.add(s)
            self.threads.append(threading.Thread(target=self.serve, args=(s,), daemon=True))
            self.threads[-1].start()

    def serve(self, s):
        try:
            s.do_handshake()
            while self.serve_one(s):
                pass
        except (OSError, ValueError):
            pass  # the client went, or the test is over
        finally:
            with self.lock:
                self.open.remove(s)
                s.close()

    def serve_one(self, s):
        data = b""
        while b"\r\n\r\n" not in data:
            part = s.recv(65536)
            if not part:
                self.heard += data
                return False
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += s.recv(65536)
        with self.lock:
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
            request = (method, target, headers, body)
            self.requests.append(request)
        return step(s, request)


def answer(status, body=None, cut=None, keep=True, **headers):
    """cut: only so many bytes of the body, and the end."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    headers = {"Content_Type": "application/json", "Content_Length": len(data), **headers}

    def step(s, _):
        head = f"HTTP/1.1 {status} x\r\n" + "".join(
            f"{n.replace('_', '-')}: {v}\r\n" for n, v in headers.items())
        s.sendall(head.encode() + b"\r\n" + data[:cut])
        return keep and cut is None
    return step


def problem(status, word, **headers):
    return answer(status, {"type": "urn:van:error:" + word, "title": "x", "detail": "y", "status": status},
                  Content_Type="application/problem+json", **headers)


def raw(data):
    def step(s, _):
        s.sendall(data)
        return False
    return step


def drop(_s, _request):
    """The request is taken, and nothing comes."""
    return False


def silence(s, _request):
    """Nothing comes, not even the end."""
    s.recv(1)
    return False


def stream(*pieces, silent=False):
    """Server-sent events in chunks, then the end in the middle of it, or silence."""
    def step(s, request):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        return silence(s, request) if silent else False
    return step


def forward(console, lose=False):
    """Hands the request to a real console; lose: and does not hand back what it says."""
    def step(s, request):
        method, target, headers, body = request
        names = ("content-type", "if-match", "idempotency-key", "x-request-id")
        real = console.call(method, target, body or None,
                            headers={n: headers[n] for n in names if n in headers})
        if lose:
            return False
        return answer(real.status, real.body, Content_Type=real.headers["Content-Type"] or "-")(s, request)
    return step
