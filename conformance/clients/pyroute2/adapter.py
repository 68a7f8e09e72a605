#!/usr/bin/env python3
"""pyroute2. ../clients.toml has what it needs.

A handle is one asynchronous socket. Requests on it may wait at the same time, each with a deadline of asyncio's.
Families are declared as the library's documentation says; other messages are a class whose decode() keeps the bytes.
"""

import importlib.util
import os
import sys
import types

# pyroute2/__init__.py imports all of the library, which takes an emulated processor longer than a scenario does.
package = types.ModuleType("pyroute2")
package.__path__ = importlib.util.find_spec("pyroute2").submodule_search_locations
sys.modules["pyroute2"] = package

from pyroute2.config.version import __version__
from pyroute2.netlink import NETLINK_CONNECTOR, NETLINK_GENERIC, NLM_F_REQUEST, NLMSG_ERROR
from pyroute2.netlink import GENL_ID_CTRL, ctrlmsg, genlmsg, nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket
from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

import lines

ATTRIBUTES = ((1, "number", "uint32"), (2, "filler", "cdata"), (3, "text", "asciiz"), (4, "nest", "nest|nested"),
              (5, "wide", "uint64"))


class Family(genlmsg):
    nla_map = ATTRIBUTES

    class nest(nla):
        nla_map = ATTRIBUTES


Family.nest.nest = Family.nest


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


def encoded(attributes):
    return [(name, {"attrs": encoded(value)} if name == "nest" else bytes(value) if name == "filler" else value)
            for attribute in attributes for name, value in attribute.items()]


def decoded(slot):
    name, value = slot
    if name == "nest":
        return {"nest": [decoded(inner) for inner in value["attrs"]]}
    if name == "UNKNOWN":
        end = slot.nla.offset + slot.nla.length
        return {"unknown": [value["header"]["type"], list(slot.nla.data[slot.nla.offset + 4:end])]}
    return {name: list(value) if name == "filler" else value}


def shown(message):
    header = message["header"]
    told = {"type": header["type"], "flags": header["flags"], "seq": header["sequence_number"]}
    if "payload" in message:
        return told | {"payload": message["payload"]}
    return told | {"command": message["cmd"], "attributes": [decoded(slot) for slot in message["attrs"]]}


class Handle(lines.Handle):
    async def open(self, protocol, options):
        kind = AsyncGenericNetlinkSocket if protocol == NETLINK_GENERIC else AsyncNetlinkSocket
        self.is_connector = protocol == NETLINK_CONNECTOR
        sizes = {"rcvbuf": options["buffer"]} if "buffer" in options else {}
        self.socket = type("Socket", (kind,), {"marshal_class": ConnectorMarshal if self.is_connector else RawMarshal})(
            family=protocol, ext_ack=options.get("ext_ack", False), **sizes)
        await AsyncNetlinkSocket.bind(self.socket)
        if protocol == NETLINK_GENERIC:
            self.socket.register_policy(GENL_ID_CTRL, ctrlmsg)
        return ["cap_ack"] if "cap_ack" in options else []

    async def resolve(self, name):
        message = await self.socket.discovery(name)
        groups = {group.get_attr("CTRL_ATTR_MCAST_GRP_NAME"): group.get_attr("CTRL_ATTR_MCAST_GRP_ID")
                  for group in message.get_attr("CTRL_ATTR_MCAST_GROUPS", [])}
        self.socket.register_policy(message.get_attr("CTRL_ATTR_FAMILY_ID"), Family)  # as the library's bind() does
        return message.get_attr("CTRL_ATTR_FAMILY_ID"), groups

    async def request(self, question, kind, flags, outcome):
        if "family" in question:
            message = Family()
            message["cmd"], message["version"] = question["command"], 1
            message["attrs"] = encoded(question.get("attributes", []))
        else:
            payload = bytes(question["payload"])
            message = type("Bytes", (nlmsg,), {"fields": (("payload", f"{len(payload)}s"),)})()
            message["payload"] = payload
        if self.is_connector:
            await self.socket.put(message, kind, NLM_F_REQUEST)
            await self.next_event(outcome)
        else:
            await self.collect(await self.socket.nlm_request(message, kind, NLM_F_REQUEST | flags), outcome)

    async def collect(self, answer, outcome):
        async for message in answer:
            if message["header"]["type"] != NLMSG_ERROR:
                outcome["messages"].append(shown(message))
            elif text := message.get_attr("NLMSGERR_ATTR_MSG"):
                outcome["notices"].append({"warning": text})

    async def join(self, number, name):
        AsyncNetlinkSocket.add_membership(self.socket, number)

    async def leave(self, group):
        AsyncNetlinkSocket.drop_membership(self.socket, group)

    async def next_event(self, outcome):
        await self.collect(self.socket.get(), outcome)

    def close(self):
        self.socket.close()

    def end_of(self, error):
        if isinstance(error, NetlinkDumpInterrupted):
            return {"end": "interrupted"}
        if isinstance(error, NetlinkError):
            text = error.args[1] if error.args[1] != os.strerror(error.code) else None
            return {"end": "error", "errno": error.code, "message": text}


lines.serve(lines.greeting("pyroute2", __version__, hidden=["sender"], lacks={
    "proc-events": "ProcEventSocket has an adapter of its own", "ext-ack-offset": "its errors have none",
    "options": "it has no option for NETLINK_CAP_ACK"}), Handle)
