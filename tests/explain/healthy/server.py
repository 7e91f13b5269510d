"""Answers requests over HTTP with a net, a thread each; two clients ask for some seconds."""

import http.server
import threading
import time
import urllib.request

import torch

net = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)).eval()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with torch.inference_mode():
            said = str(net(torch.rand(8, 256)).argmax().item()).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


def ask(port):
    end = time.perf_counter() + 5
    while time.perf_counter() < end:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
        time.sleep(0.01)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()
clients = [threading.Thread(target=ask, args=(server.server_port,)) for _ in range(2)]
for client in clients:
    client.start()
for client in clients:
    client.join()
server.shutdown()
