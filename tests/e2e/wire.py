# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wire between two daemons as include/migd-wire.h describes it, for a source that a test plays: right by itself, and with places
to do something else."""
import ctypes
import ctypes.util
import json
import os
import secrets
import socket
import struct
import threading

HELLO, MESSAGE, PAGES, ZERO, FENCE, STATE, STATE_END, DIGESTS = range(1, 9)
VMM = 0xffffffff
MAGIC, VERSION = 0x4447494d, 1
HEADER = struct.Struct("<IBBHIIQQQQII")  # the checksum of these 56 bytes follows
PAGE = 4096

_xxh = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
_xxh.XXH3_64bits.restype = ctypes.c_uint64
_xxh.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def digest(data):
    return _xxh.XXH3_64bits(bytes(data), len(data))


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Frame:
    """One frame before it is sealed; whoever deviates changes its parts."""

    def __init__(self, kind, payload=b"", region=0, count=0, offset=0, zero_length=0, fence=0):
        self.kind, self.payload, self.region, self.count, self.offset, self.fence = kind, payload, region, count, offset, fence
        self.zero_length, self.flags, self.length, self.sequence, self.magic, self.version, self.sum = zero_length, 0, None, None, MAGIC, VERSION, 0

    def seal(self, sequence):
        front = HEADER.pack(self.magic & 0xffffffff, self.version & 0xff, self.kind & 0xff, self.flags & 0xffff, self.region & 0xffffffff,
                            self.count & 0xffffffff, self.offset & (1 << 64) - 1,
                            (len(self.payload) if self.length is None else self.length) & (1 << 64) - 1,
                            (sequence if self.sequence is None else self.sequence) & (1 << 64) - 1, self.zero_length & (1 << 64) - 1,
                            self.fence & 0xffffffff, 0)
        return front + struct.pack("<Q", digest(front) ^ self.sum) + self.payload


class Line:
    """One connection. What is sent passes `deviate`, a function that gets (line, frame) and gives the frames that are sent instead."""

    def __init__(self, address, name, deviate=None, timeout=2.0):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name, self.deviate, self.sequence = name, deviate, 0

    def send(self, frame):
        for f in self.deviate(self, frame) if self.deviate else [frame]:
            self.socket.sendall(f if isinstance(f, bytes) else f.seal(self.sequence))
            self.sequence += 1

    def take(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError(f"{self.name}: the end")
            data += piece
        return data

    def receive(self):
        """(type, payload)"""
        h = HEADER.unpack(self.take(HEADER.size + 8)[:HEADER.size])
        return h[2], self.take(h[7])

    def hear(self):
        return json.loads(self.receive()[1])

    def close(self, reset=False):
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Decider:
    """Where a destination in doubt asks: every migration was aborted, or what else the word says."""

    def __init__(self, word="aborted"):
        self.word = word
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(5)
                    connection.recv(65536)
                    connection.sendall(Frame(HELLO, compact({"decision": self.word})).seal(0))
                    connection.recv(1)
                except OSError:
                    pass

    def close(self):
        self.listener.close()


class Source:
    """A source of one region and no device, up to and without COMMIT. resumes: all of its connections end after the first round, and it comes back."""

    def __init__(self, address, domain, region, size, decider, deviate=None, resumes=False):
        self.address, self.deviate, self.lines, self.key = address, deviate, [], None
        self.size, self.id, self.token = size, secrets.token_hex(16), secrets.token_hex(16)
        self.hello = {"regions": [{"name": region, "size": size}], "devices": [], "migration": self.id, "protocol": 1, "protocol-oldest": 1,
                      "version": "0.1.0", "domain": domain, "page-size": PAGE, "connections": 2, "vmm-state": True, "verify": "off",
                      "token": self.token, "decision-address": decider.address, **({"reconnect-timeout": 1000000} if resumes else {})}

    def line(self, name):
        line = Line(self.address, name, self.deviate)
        self.lines.append(line)
        return line

    def attach(self, role, index):
        line = self.line(f"{role} {index}")
        line.send(Frame(HELLO, compact({"attach": self.id, "token": self.token, "role": role, "index": index, **({"key": self.key} if self.key else {})})))
        line.hear()
        return line

    def connect(self, hello):
        """(control, pages, state), or what else the destination answered"""
        control = self.line("control")
        control.send(Frame(HELLO, compact(hello)))
        answer = control.hear()
        if "ok" not in answer:
            return answer
        self.key = answer.get("resume-key") if "resume" in hello else None
        self.next_key = answer.get("resume-key")
        return control, [self.attach("pages", n) for n in range(2)], self.attach("state", 0)

    def run(self, state=b"state"):
        """What the destination said last, as an object."""
        all_lines = self.connect(self.hello)
        if isinstance(all_lines, dict):
            return all_lines
        control, pages, stream = all_lines
        for fence in range(2):
            if fence == 1 and self.next_key:
                self.close()
                all_lines = self.connect({"resume": self.id, "token": self.token, "key": self.next_key, "reconnect-timeout": 1000000})
                if isinstance(all_lines, dict):
                    return all_lines
                control, pages, stream = all_lines
            for n, line in enumerate(pages):
                at = n * 16 * PAGE
                line.send(Frame(PAGES, os.urandom(2 * PAGE), offset=at))
                table = struct.pack("<4Q", at + 4 * PAGE, PAGE, at + 8 * PAGE, 2 * PAGE)
                line.send(Frame(PAGES, table + bytes(3 * PAGE), count=2))
                line.send(Frame(ZERO, offset=at + 12 * PAGE, zero_length=4 * PAGE))
                line.send(Frame(FENCE, fence=fence))
            answer = control.hear()
            if answer.get("message") != "fence":
                return answer
        stream.send(Frame(STATE, state, region=VMM))
        stream.send(Frame(STATE_END, struct.pack("<Q", digest(state)), region=VMM, offset=len(state)))
        control.send(Frame(MESSAGE, compact({"message": "prepare"})))
        return control.hear()

    def close(self, reset=False):
        for line in self.lines:
            line.close(reset)
