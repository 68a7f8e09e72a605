#!/usr/bin/env python3
"""pyroute2's ProcEventSocket: process events. ../clients.toml has what it needs.

As in the library's example, `listen` is bind() and control(), and `next-event` is get(). They have no deadlines: a
call runs in the one thread that a socket may be used from, and is left behind when its deadline has passed.
"""

import asyncio
import concurrent.futures
import importlib.metadata

from pyroute2.netlink.connector.cn_proc import ProcEventSocket
from pyroute2.netlink.exceptions import NetlinkError

import lines


def shown(message):
    what = message["event"].removeprefix("PROC_EVENT_").lower()
    if what == "fork":
        return {"what": what, "pid": message["parent_tgid"], "child": message["child_tgid"]}
    return {"what": what, "pid": message.get("process_tgid", 0)}


class Handle(lines.Handle):
    def run(self, call, *arguments):
        return asyncio.get_running_loop().run_in_executor(self.thread, lambda: call(*arguments))

    async def open(self, protocol, options):
        self.thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self.socket = await self.run(ProcEventSocket)
        return list(options)

    async def listen(self):
        await self.run(self.socket.bind)
        await self.run(self.socket.control, True)

    async def next_event(self, outcome):
        outcome["messages"] += [{"process": shown(message)} for message in await self.run(lambda: list(self.socket.get()))]

    def close(self):
        self.socket.close()

    def end_of(self, error):
        return {"end": "error", "errno": error.code} if isinstance(error, NetlinkError) else None


events_only = dict.fromkeys(lines.CAPABILITIES, "ProcEventSocket is for process events only")
lines.serve(lines.greeting(
    "pyroute2 ProcEventSocket", importlib.metadata.version("pyroute2"), hidden=["sender", "command"],
    own_code=["a thread, for deadlines"],
    lacks=events_only | {"proc-events": None, "deadlines": "a call of the socket has none"}), Handle)
