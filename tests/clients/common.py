"""What both scripts need: the simulator's control requests, a browser, and an address for notifications."""

import http.server
import json
import threading
import urllib.error
import urllib.parse
import urllib.request


class Simulator:
    def __init__(self, base):
        self.base = base

    def control(self, method, path, body=None):
        """A request that the simulated system itself has not."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/_control/{path}", data=data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def deliver(self):
        """Sends the notifications that wait."""
        return self.control("POST", "deliveries")["requests"]

    def count(self, endpoint):
        """How many requests there were."""
        return self.control("GET", "counters").get(endpoint, 0)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def sent_to(url):
    """Where a browser is sent that opens this address."""
    try:
        urllib.request.build_opener(NoRedirect).open(url)
    except urllib.error.HTTPError as answer:
        assert answer.code in (302, 303), answer.read()
        return answer.headers["Location"]
    raise AssertionError(f"no redirect from {url}")


class Listener:
    """An address for notifications, which answers handshakes. `got` has the headers and the body of each."""

    def __init__(self):
        listener = self
        self.got = []
        self.handshakes = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                token = query.get("validationToken", [""])[0].encode()
                if token:
                    listener.handshakes += 1
                else:
                    listener.got.append((self.headers, body))
                self.send_response(200 if token else 202)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(token)))
                self.end_headers()
                self.wfile.write(token)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/notify"
