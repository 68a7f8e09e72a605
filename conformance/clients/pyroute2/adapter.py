#!/usr/bin/env python3
"""pyroute2. PyPI: pyroute2, in a virtual environment of its own:

    python3 -m venv venv && venv/bin/pip install pyroute2 && venv/bin/python adapter.py

A handle is one asynchronous socket of the library. Requests on it may wait at the same time, each with a deadline
of asyncio's. Messages of families are declared as the library's documentation says; others are a class whose
decode() keeps the bytes.
"""

import asyncio
import errno
import importlib.util
import json
import os
import sys
import types

# pyroute2/__init__.py imports all of the library, which takes an emulated processor longer than a scenario does.
package = types.ModuleType("pyroute2")
package.__path__ = importlib.util.find_spec("pyroute2").submodule_search_locations
sys.modules["pyroute2"] = package

from pyroute2.config.version import __version__
from pyroute2.netlink import NETLINK_GENERIC, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_ERROR
from pyroute2.netlink import ctrlmsg, genlmsg, nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket
from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

NETLINK_CONNECTOR, NETLINK_CAP_ACK, GENL_ID_CTRL = 11, 10, 16
ATTRIBUTES = ((1, "number", "uint32"), (2, "filler", "cdata"), (3, "text", "asciiz"), (4, "nest", "nest|nested"),
              (5, "wide", "uint64"))


class Nest(nla):
    nla_map = ATTRIBUTES


class Family(genlmsg):
    nla_map = ATTRIBUTES
    nest = Nest


Nest.nest = Nest


class Raw(nlmsg):
    def decode(self):
        nlmsg.decode(self)
        self["payload"] = list(self.data[self.offset + 16:self.offset + self.length])


class RawMarshal(Marshal):
    default_message_class = Raw


class ConnectorMarshal(RawMarshal):
    """All messages of the connector are of type NLMSG_DONE; the library's ProcEventMarshal does the same."""
    error_type = -1

    def parse_one_message(self, key, flags, sequence_number, data, offset, length):
        return super().parse_one_message(key, 0, sequence_number, data, offset, length)

    def is_enough(self, msg):
        return False


class GenericSocket(AsyncGenericNetlinkSocket):
    marshal_class = RawMarshal


class RawSocket(AsyncNetlinkSocket):
    marshal_class = RawMarshal


class ConnectorSocket(AsyncNetlinkSocket):
    marshal_class = ConnectorMarshal


def encoded(attributes):
    pairs = [next(iter(attribute.items())) for attribute in attributes]
    return [(name, {"attrs": encoded(value)} if name == "nest" else bytes(value) if name == "filler" else value)
            for name, value in pairs]


def decoded(slot):
    name, value = slot
    if name == "nest":
        return {"nest": [decoded(inner) for inner in value["attrs"]]}
    if name == "UNKNOWN":
        unknown = slot.nla
        end = unknown.offset + unknown.length
        return {"unknown": [value["header"]["type"], list(unknown.data[unknown.offset + 4:end])]}
    return {name: list(value) if name == "filler" else value}


def shown(message):
    header = message["header"]
    told = {"type": header["type"], "flags": header["flags"], "seq": header["sequence_number"]}
    if "payload" in message:
        return told | {"payload": message["payload"]}
    return told | {"command": message["cmd"], "attributes": [decoded(slot) for slot in message["attrs"]]}


def end_of(error):
    if isinstance(error, asyncio.TimeoutError):
        return {"end": "timeout"}
    if isinstance(error, NetlinkDumpInterrupted):
        return {"end": "interrupted"}
    if isinstance(error, NetlinkError):
        text = error.args[1] if error.args[1] != os.strerror(error.code) else None
        return {"end": "error", "errno": error.code, "message": text}
    if isinstance(error, OSError) and error.errno:
        return {"end": "overrun"} if error.errno == errno.ENOBUFS else {"end": "error", "errno": error.errno}
    return {"end": "library", "words": repr(error)}


class Handle:
    def __init__(self, protocol, options):
        self.known = {}
        self.protocol = protocol
        kinds = {NETLINK_GENERIC: GenericSocket, NETLINK_CONNECTOR: ConnectorSocket}
        sizes = {"rcvbuf": options["buffer"]} if options.get("buffer") else {}
        self.socket = kinds.get(protocol, RawSocket)(
            family=protocol, ext_ack=options.get("ext_ack", False), strict_check=options.get("strict", False), **sizes)

    async def resolve(self, name, outcome):
        message = await self.socket.discovery(name)
        groups = {group.get_attr("CTRL_ATTR_MCAST_GRP_NAME"): group.get_attr("CTRL_ATTR_MCAST_GRP_ID")
                  for group in message.get_attr("CTRL_ATTR_MCAST_GROUPS", [])}
        self.known[name] = {"id": message.get_attr("CTRL_ATTR_FAMILY_ID"), "groups": groups}
        self.socket.register_policy(self.known[name]["id"], Family)
        outcome["family"] = self.known[name]

    async def known_family(self, name):
        """As the library's bind() does, which registers the class of a family's messages, notifications too."""
        if name not in self.known:
            await self.resolve(name, {})
        return self.known[name]["id"]

    async def request(self, question, outcome):
        if name := question.get("family"):
            kind, message = await self.known_family(name), Family()
            message["cmd"], message["version"] = question["command"], 1
            message["attrs"] = encoded(question.get("attributes", []))
        else:
            payload = bytes(question["payload"])
            kind, message = question["type"], type("Bytes", (nlmsg,), {"fields": (("payload", f"{len(payload)}s"),)})()
            message["payload"] = payload
        expects = question.get("expects", "dump")
        flags = NLM_F_REQUEST | {"dump": NLM_F_DUMP, "ack": NLM_F_ACK, "both": NLM_F_ACK}.get(expects, 0)
        if expects == "nothing" or self.protocol == NETLINK_CONNECTOR:
            await self.socket.put(message, kind, flags)
            answer = self.socket.get() if expects != "nothing" else None
        else:
            answer = await self.socket.nlm_request(message, kind, flags)
        if answer:
            await self.collect(answer, outcome)

    async def collect(self, answer, outcome):
        async for message in answer:
            if message["header"]["type"] == NLMSG_ERROR:
                text = message.get_attr("NLMSGERR_ATTR_MSG")
                outcome["notices"] += [{"warning": text}] if text else []
            else:
                outcome["messages"].append(shown(message))

    async def call(self, question, outcome):
        match question["call"]:
            case "resolve":
                await self.resolve(question["family"], outcome)
            case "request" | "dump":
                await self.request(question, outcome)
            case "join":
                if "family" in question:
                    await self.known_family(question["family"])
                AsyncNetlinkSocket.add_membership(self.socket, question["number"])
            case "leave":
                AsyncNetlinkSocket.drop_membership(self.socket, question["number"])
            case "next-event":
                await self.collect(self.socket.get(), outcome)


def greeting():
    able = ["generic", "raw", "connector", "dump", "events", "big-groups", "shared-socket", "ext-ack", "warnings",
            "receive-buffer", "deadlines", "parallel-calls"]
    lacks = {"proc-events": "ProcEventSocket has an adapter of its own", "ext-ack-offset": "its errors have none",
             "options": "it has no option for NETLINK_CAP_ACK"}
    return {"version": 1, "language": "Python", "hidden": ["sender"], "own_code": [],
            "identity": {"role": "client", "name": "pyroute2", "version": __version__,
                         "capabilities": dict.fromkeys(able) | lacks}}


async def opened(question, handles):
    options = question.get("options", {})
    handle = Handle(question["protocol"], options)
    await AsyncNetlinkSocket.bind(handle.socket)
    if handle.protocol == NETLINK_GENERIC:
        handle.socket.register_policy(GENL_ID_CTRL, ctrlmsg)
    handles.append(handle)
    ignored = ["cap_ack"] if options.get("cap_ack") else []
    return {"handle": len(handles) - 1, "port": handle.socket.getsockname()[0], "ignored": ignored}


async def answer(question, handles):
    call = question["call"]
    if call == "hello":
        return {"ok": greeting()}
    if call == "open":
        return {"ok": await opened(question, handles)}
    handle, outcome = handles[question["handle"]], {"end": "done", "messages": [], "notices": []}
    if call == "close":
        handle.socket.close()
        return {"ok": None}
    if call == "listen":
        return {"unsupported": "ProcEventSocket has an adapter of its own"}
    try:
        await asyncio.wait_for(handle.call(question, outcome), question["deadline_ms"] / 1000)
    except Exception as error:
        outcome |= end_of(error)
    return {"ok": outcome}


async def main(line):
    handles, tasks = [], set()
    reader = asyncio.StreamReader(limit=1 << 23)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def reply(question):
        try:
            line = json.dumps({"seq": question["seq"]} | await answer(question, handles))
        except Exception as error:
            line = json.dumps({"seq": question["seq"], "failed": repr(error)})
        print(line, flush=True)

    while line:
        task = asyncio.create_task(reply(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        line = await reader.readline()


asyncio.run(main(sys.stdin.readline()))  # copied while it waits for the greeting: an event loop survives no fork
