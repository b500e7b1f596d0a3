#!/usr/bin/env python3
"""Print the WebSocket messages of a capture as JSON lines.

usage: websocket-from-pcap.py CAPTURE.pcap [PORT]

One line per text or binary message, in the order of the segments that completed them: `t` (seconds since the first packet),
`conn` (the client's port), `from` ("client" or "server"), `text`. Control frames are left out. Reads classic pcap files of
Ethernet or raw IPv4 links without retransmissions and reordering, as loopback captures are.
"""

import json
import struct
import sys


def packets(path):
    with open(path, "rb") as file:
        data = file.read()
    magic = data[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1e-9 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    (link,) = struct.unpack_from(order + "I", data, 20)
    at = 24
    while at < len(data):
        seconds, part, length, _ = struct.unpack_from(order + "4I", data, at)
        at += 16
        packet = data[at : at + length]
        at += length
        yield seconds + part * fraction, packet[14:] if link == 1 else packet


def segments(path, port):
    start = None
    for time, ip in packets(path):
        if start is None:
            start = time
        if ip[0] >> 4 != 4 or ip[9] != 6:
            continue
        header = (ip[0] & 15) * 4
        tcp = ip[header : struct.unpack_from(">H", ip, 2)[0]]
        source, target = struct.unpack_from(">HH", tcp)
        payload = tcp[(tcp[12] >> 4) * 4 :]
        if payload and port in (source, target):
            sender = "client" if target == port else "server"
            yield time - start, source if sender == "client" else target, sender, payload


def messages(buffer):
    """Takes the complete frames out of the buffer and yields the messages that they complete."""
    while len(buffer["data"]) >= 2:
        data = buffer["data"]
        length, at = data[1] & 127, 2
        if length == 126:
            length, at = struct.unpack_from(">H", data, 2)[0], 4
        elif length == 127:
            length, at = struct.unpack_from(">Q", data, 2)[0], 10
        masked = data[1] & 128
        mask = data[at : at + 4] if masked else bytes(4)
        at += 4 if masked else 0
        if len(data) < at + length:
            return
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[at : at + length]))
        opcode, final = data[0] & 15, data[0] & 128
        buffer["data"] = data[at + length :]
        if opcode < 8:
            buffer["message"] += payload
            if final:
                yield buffer["message"].decode()
                buffer["message"] = b""


def main():
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 2149
    buffers = {}
    for time, conn, sender, payload in segments(sys.argv[1], port):
        buffer = buffers.setdefault((conn, sender), {"http": True, "data": b"", "message": b""})
        buffer["data"] += payload
        if buffer["http"]:
            _, blank, rest = buffer["data"].partition(b"\r\n\r\n")
            if not blank:
                continue
            buffer["http"], buffer["data"] = False, rest
        for text in messages(buffer):
            print(json.dumps({"t": round(time, 6), "conn": conn, "from": sender, "text": text}))


if __name__ == "__main__":
    main()
