#!/usr/bin/env python3
"""pyroute2's ProcEventSocket: process events. PyPI: pyroute2, in a virtual environment of its own:

    python3 -m venv venv && venv/bin/pip install pyroute2 && venv/bin/python proc_events.py

As in the library's example, `listen` is bind() and control(), and `next-event` is get(). They have no deadlines: a
call runs in the one thread that a socket may be used from, and is left behind when its deadline has passed.
"""

import concurrent.futures
import errno
import importlib.metadata
import json
import os
import sys

from pyroute2.netlink.connector.cn_proc import ProcEventSocket
from pyroute2.netlink.exceptions import NetlinkError

WHAT = {"PROC_EVENT_FORK": "fork", "PROC_EVENT_EXEC": "exec", "PROC_EVENT_EXIT": "exit"}


class Handle:
    def __init__(self):
        self.thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self.socket = self.thread.submit(ProcEventSocket).result()

    def listen(self):
        self.socket.bind()
        self.socket.control(listen=True)
        return []

    def next_event(self):
        return [{"process": shown(message)} for message in self.socket.get()]

    def within(self, deadline_ms, call):
        try:
            return {"end": "done", "messages": self.thread.submit(call).result(deadline_ms / 1000)}
        except Exception as error:
            return end_of(error)


def shown(message):
    name = message["event"]
    what = WHAT.get(name, name.removeprefix("PROC_EVENT_").lower())
    if what == "fork":
        return {"what": what, "pid": message["parent_tgid"], "child": message["child_tgid"]}
    return {"what": what, "pid": message.get("process_tgid", 0)}


def end_of(error):
    if isinstance(error, concurrent.futures.TimeoutError):
        return {"end": "timeout"}
    if isinstance(error, NetlinkError):
        return {"end": "error", "errno": error.code}
    if isinstance(error, OSError) and error.errno:
        return {"end": "overrun"} if error.errno == errno.ENOBUFS else {"end": "error", "errno": error.errno}
    return {"end": "library", "words": repr(error)}


def greeting():
    lacks = dict.fromkeys(["generic", "raw", "connector", "dump", "events", "big-groups", "shared-socket", "ext-ack",
                           "ext-ack-offset", "warnings", "options", "receive-buffer", "parallel-calls"],
                          "ProcEventSocket is for process events only")
    return {"version": 1, "language": "Python", "hidden": ["sender", "command"],
            "own_code": ["a thread, for deadlines"],
            "identity": {"role": "client", "name": "pyroute2 ProcEventSocket",
                         "version": importlib.metadata.version("pyroute2"),
                         "capabilities": {"proc-events": None, "deadlines": "a call of the socket has none"} | lacks}}


def answer(question, handles):
    match question["call"]:
        case "hello":
            return {"ok": greeting()}
        case "open":
            handles.append(Handle())
            return {"ok": {"handle": len(handles) - 1, "ignored": list(question.get("options", {}))}}
        case "listen":
            handle = handles[question["handle"]]
            return {"ok": handle.within(question["deadline_ms"], handle.listen)}
        case "next-event":
            handle = handles[question["handle"]]
            return {"ok": handle.within(question["deadline_ms"], handle.next_event)}
        case "close":
            handles[question["handle"]].socket.close()
            return {"ok": None}
    return {"unsupported": "ProcEventSocket is for process events only"}


handles = []
for line in sys.stdin:
    question = json.loads(line)
    try:
        told = answer(question, handles)
    except Exception as error:
        told = {"failed": repr(error)}
    print(json.dumps({"seq": question["seq"]} | told), flush=True)
os._exit(0)  # a call that was left behind does not end
