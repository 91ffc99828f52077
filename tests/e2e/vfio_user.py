# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small vfio-user client, as a VMM that knows nothing of migration would be one: it speaks to the socket that migd offers for a device."""
import array
import json
import socket
import struct

from harness import Failed, expect

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO = 1, 2, 3, 4, 5
REGION_READ, REGION_WRITE, RESET, FEATURE = 9, 10, 13, 16
REPLY, ERROR = 1, 0x20


class Refused(Exception):
    def __init__(self, command, number):
        super().__init__(f"command {command} was refused with errno {number}")
        self.errno = number


class Client:
    def __init__(self, path, seconds=5):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        self.number = 0
        text = json.dumps({"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576}}).encode() + b"\0"
        reply = self.call(VERSION, struct.pack("<HH", 0, 0) + text)
        self.version = json.loads(reply[4:].split(b"\0")[0] or b"{}")

    def receive(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise Failed("the vfio-user socket was closed")
            data += piece
        return data

    def call(self, command, payload=b"", fds=()):
        self.number = (self.number + 1) % 65536
        message = struct.pack("<HHIII", self.number, command, 16 + len(payload), 0, 0) + payload
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([message], ancillary)
        number, answered, size, flags, error = struct.unpack("<HHIII", self.receive(16))
        body = self.receive(size - 16)
        expect(number == self.number and answered == command and flags & 0xF == REPLY, f"a strange reply to command {command}")
        if flags & ERROR:
            raise Refused(command, error)
        return body

    def map(self, fd, offset, iova, size):
        self.call(DMA_MAP, struct.pack("<IIQQQ", 32, 3, offset, iova, size), [fd])

    def unmap(self, iova, size):
        self.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, iova, size))

    def info(self):
        return struct.unpack("<IIII", self.call(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)))

    def read32(self, region, offset):
        reply = self.call(REGION_READ, struct.pack("<QII", offset, region, 4))
        return struct.unpack("<I", reply[16:20])[0]

    def write32(self, region, offset, value):
        self.call(REGION_WRITE, struct.pack("<QII", offset, region, 4) + struct.pack("<I", value))

    def close(self):
        self.socket.close()
