#!/usr/bin/env python3
"""An adapter in Python: drives this host's AF_NETLINK for nlconform. See docs/adapter.md.

    nlconform run --adapter "python3 conformance/examples/adapter.py"
"""

import ctypes
import errno
import json
import os
import select
import socket as python_socket
import struct
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
AF_NETLINK, SOCK_RAW, SOCK_CLOEXEC = 16, 3, 0o2000000


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(IoVec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


def checked(returned):
    """Raises what a system call failed with."""
    if returned == -1:
        raise OSError(ctypes.get_errno(), "")
    return returned


def void(returned):
    checked(returned)


def address_of(buffer):
    return ctypes.cast(buffer, ctypes.c_void_p)


def filled(call, room):
    """A call that fills a buffer of `room` bytes, 0xa5 where it writes nothing: what is in it, and the length reported."""
    buffer, length = ctypes.create_string_buffer(b"\xa5" * max(room, 1)), ctypes.c_uint(room)
    checked(call(buffer, ctypes.byref(length)))
    return [list(buffer.raw[:min(room, length.value)]), length.value]


def encode_control(messages):
    encoded = b""
    for message in messages:
        data = bytes(message["data"])
        encoded += struct.pack("Qii", 16 + len(data), message["level"], message["kind"])
        encoded += data + bytes(-len(data) % 8)
    return encoded


def decode_control(raw):
    messages = []
    while len(raw) >= 16 and (length := struct.unpack_from("Q", raw)[0]) >= 16:
        level, kind = struct.unpack_from("ii", raw, 8)
        messages.append({"level": level, "kind": kind, "data": list(raw[16:length])})
        raw = raw[(length + 7) // 8 * 8:]
    return messages


def open_socket(kind, protocol):
    return checked(libc.socket(AF_NETLINK, kind | SOCK_CLOEXEC, protocol))


def send(socket, outgoing):
    payload = ctypes.create_string_buffer(bytes(outgoing["bytes"]) or b"\0")
    control = encode_control(outgoing["control"])
    control_buffer = ctypes.create_string_buffer(control, len(control)) if control else None
    iov = IoVec(address_of(payload), len(outgoing["bytes"]))
    header = MsgHdr(iov=ctypes.pointer(iov), iovlen=1, controllen=len(control))
    if control_buffer is not None:
        header.control = address_of(control_buffer)
    if outgoing["to"] is not None:
        to = ctypes.create_string_buffer(bytes(outgoing["to"]) or b"\0")
        header.name, header.namelen = address_of(to), len(outgoing["to"])
    return checked(libc.sendmsg(socket, ctypes.byref(header), outgoing["flags"]))


def receive(socket, how):
    room = how["room"]
    payload, sender, control = (ctypes.create_string_buffer(size) for size in (max(room, 1), 64, 512))
    iov = IoVec(address_of(payload), room)
    header = MsgHdr(name=address_of(sender), namelen=64, iov=ctypes.pointer(iov), iovlen=1,
                    control=address_of(control), controllen=512)
    returned = checked(libc.recvmsg(socket, ctypes.byref(header), how["flags"]))
    return {"bytes": list(payload.raw[:min(returned, room)]), "returned": returned,
            "from": list(sender.raw[:header.namelen]), "flags": header.flags,
            "control": decode_control(control.raw[:header.controllen])}


def poll(socket, events, timeout_ms):
    poller = select.poll()
    poller.register(socket, events)
    ready = poller.poll(timeout_ms)
    return ready[0][1] if ready else 0


def refused(socket, refused):
    """A call that netlink has not, or with an argument that it cannot take."""
    call, option = next(iter(refused.items())) if isinstance(refused, dict) else (refused, None)
    number, room, pair = ctypes.c_int(-1), ctypes.c_int(4), (ctypes.c_int * 2)()
    page = ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0)))
    ctypes.c_int.from_address(page.value).value = 4
    libc.mprotect(page, ctypes.c_size_t(4096), 1)
    calls = {
        "listen": lambda: libc.listen(socket, 1),
        "accept": lambda: libc.accept(socket, None, None),
        "shutdown": lambda: libc.shutdown(socket, 2),
        "fionread": lambda: libc.ioctl(socket, 0x541B, ctypes.byref(number)),
        "mmap": lambda: ctypes.c_long(libc.mmap(None, ctypes.c_size_t(4096), 1, 1, socket, ctypes.c_long(0))).value,
        "socketpair": lambda: libc.socketpair(AF_NETLINK, SOCK_RAW, os_socket(socket).proto, pair),
        "unreadable-value": lambda: libc.setsockopt(socket, 270, option, ctypes.c_void_p(1), 4),
        "negative-room": lambda: libc.getsockopt(socket, 270, option, ctypes.create_string_buffer(8), ctypes.byref(number)),
        "unreadable-datagram": lambda: libc.send(socket, ctypes.c_void_p(1), ctypes.c_size_t(16), python_socket.MSG_DONTWAIT),
        "unwritable-buffer": lambda: libc.recv(socket, ctypes.c_void_p(1), ctypes.c_size_t(16), python_socket.MSG_DONTWAIT),
        "unwritable-value": lambda: libc.getsockopt(socket, 270, option, ctypes.c_void_p(1), ctypes.byref(room)),
        "read-only-length": lambda: libc.getsockopt(socket, 270, option, ctypes.create_string_buffer(8), page),
    }
    try:
        checked(calls[call]())
    finally:
        libc.munmap(page, ctypes.c_size_t(4096))


def os_socket(fd):
    return python_socket.socket(fileno=os.dup(fd))


def attach_filter(socket, keep):
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, keep))  # BPF_RET | BPF_K
    os_socket(socket).setsockopt(python_socket.SOL_SOCKET, 26, struct.pack("HL", 1, address_of(program).value))


def file(path):
    with open(path, encoding="utf-8") as text:
        return text.read()


def hello(version):
    """What there is. Whatever is missing has a reason; a case that needs it is skipped with it."""
    def missing(protocol):
        try:
            os.close(open_socket(SOCK_RAW, protocol))
        except OSError as error:
            return f"socket() of protocol {protocol} gives {errno.errorcode[error.errno]}"

    capabilities = {
        "route": missing(0), "usersock": missing(2), "connector": missing(11), "genetlink": missing(16),
        "sock-diag": missing(4), "netlink-diag": missing(4), "socket-filters": None, "parallel-calls": None,
        "net-admin": None if os.geteuid() == 0 else "the adapter does not run as root",
        "proc-netlink": None if os.path.exists("/proc/net/netlink") else "there is no /proc/net/netlink",
    }
    return {"version": 1, "identity": {"role": "target", "name": "Linux through Python",
                                       "version": os.uname().release, "capabilities": capabilities}}


CALLS = {
    "hello": hello, "send": send, "receive": receive, "poll": poll, "refused": refused,
    "attach-filter": attach_filter, "file": file,
    "socket": open_socket,
    "bind": lambda socket, address: void(libc.bind(socket, bytes(address), len(address))),
    "connect": lambda socket, address: void(libc.connect(socket, bytes(address), len(address))),
    "name": lambda socket, room: filled(lambda *buffer: libc.getsockname(socket, *buffer), room),
    "peer": lambda socket, room: filled(lambda *buffer: libc.getpeername(socket, *buffer), room),
    "set-option": lambda socket, level, option, value: void(
        libc.setsockopt(socket, level, option, bytes(value), len(value))),
    "option": lambda socket, level, option, room: filled(
        lambda *buffer: libc.getsockopt(socket, level, option, *buffer), room),
    "duplicate": lambda socket: os.dup(socket),
    "inode": lambda socket: os.fstat(socket).st_ino,
    "close": lambda socket: os.close(socket),
}


def answer(ask):
    seq, call = ask.pop("seq"), ask.pop("call")
    if call not in CALLS:
        told = {"unsupported": f"this adapter has no {call}"}
    else:
        try:
            told = {"ok": CALLS[call](**ask)}
        except OSError as error:
            told = {"errno": error.errno}
    with writing:
        print(json.dumps({"seq": seq, **told}), flush=True)


# A thread for each question: a call may wait for what the next one does ("parallel-calls").
writing = threading.Lock()
for line in sys.stdin:
    threading.Thread(target=answer, args=[json.loads(line)], daemon=True).start()
