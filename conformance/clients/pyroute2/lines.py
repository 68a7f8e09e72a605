"""What adapters in Python share: the lines of docs/client-adapter.md. An adapter defines a Handle, and serves it."""

import asyncio
import errno
import json
import os
import sys

CAPABILITIES = ("generic", "raw", "connector", "proc-events", "dump", "events", "big-groups", "shared-socket", "ext-ack",
                "ext-ack-offset", "warnings", "options", "receive-buffer", "deadlines", "parallel-calls")
NLM_F_ACK, NLM_F_DUMP = 4, 0x300


def greeting(name, version, lacks, hidden=(), own_code=()):
    """All capabilities but those that `lacks` names, with the reasons."""
    return {"version": 1, "language": "Python", "hidden": hidden, "own_code": own_code,
            "identity": {"role": "client", "name": name, "version": version,
                         "capabilities": dict.fromkeys(CAPABILITIES) | lacks}}


class Handle:
    """An open handle. An adapter defines those of these calls that its library has. Where the library has no
    parallel-calls they may block, for `seconds`."""

    def __init__(self):
        self.known = {}

    async def open(self, protocol, options):
        """Opens it, and names the wishes that the library cannot fulfil."""
        raise NotImplementedError

    async def resolve(self, name):
        """The ID of a family, and its groups."""
        raise NotImplementedError

    async def request(self, question, kind, flags, outcome):
        """A request or a dump: `kind` is a message's type, of a family its ID, and `flags` are what it asks for."""
        raise NotImplementedError

    async def join(self, number, name):
        """Joins a group; it has no name where it belongs to no family."""
        raise NotImplementedError

    async def leave(self, group):
        raise NotImplementedError

    async def listen(self):
        raise NotImplementedError

    async def next_event(self, outcome):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    def end_of(self, error):
        """The outcome of an exception of the library's own, if it is one."""
        return None

    async def resolved(self, name):
        number, groups = await self.resolve(name)
        self.known[name] = number
        return {"id": number, "groups": groups}

    async def id_of(self, name):
        """That of a family, which is resolved at its first use on a handle."""
        if name not in self.known:
            await self.resolved(name)
        return self.known[name]

    async def call(self, question, outcome):
        family, self.seconds = question.get("family"), question["deadline_ms"] / 1000
        match question["call"]:
            case "resolve":
                outcome["family"] = await self.resolved(family)
            case "request" | "dump":
                flags = {None: NLM_F_DUMP, "ack": NLM_F_ACK, "both": NLM_F_ACK}.get(question.get("expects"), 0)
                kind = await self.id_of(family) if family else question["type"]
                await self.request(question, kind, flags, outcome)
            case "join":
                if family:
                    await self.id_of(family)
                await self.join(question["number"], question.get("group"))
            case "leave":
                await self.leave(question["number"])
            case "listen":
                await self.listen()
            case "next-event":
                await self.next_event(outcome)

    def ended(self, error):
        if isinstance(error, asyncio.TimeoutError):
            return {"end": "timeout"}
        if own := self.end_of(error):
            return own
        if isinstance(error, OSError) and error.errno:
            return {"end": "overrun"} if error.errno == errno.ENOBUFS else {"end": "error", "errno": error.errno}
        return {"end": "library", "words": repr(error)}


async def answer(question, handles, hello, kind):
    if question["call"] == "hello":
        return {"ok": hello}
    if question["call"] == "open":
        handles.append(kind())
        ignored = await handles[-1].open(question["protocol"], question.get("options", {}))
        return {"ok": {"handle": len(handles) - 1, "ignored": ignored}}
    handle, outcome = handles[question["handle"]], {"end": "done", "messages": [], "notices": []}
    if question["call"] == "close":
        handle.close()
        return {"ok": None}
    try:
        await asyncio.wait_for(handle.call(question, outcome), question["deadline_ms"] / 1000)
    except NotImplementedError:
        return {"unsupported": "the library has no such thing"}
    except Exception as error:
        outcome |= handle.ended(error)
    return {"ok": outcome}


async def main(line, hello, kind):
    # What the library prints is for people.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    handles, tasks = [], set()
    reader = asyncio.StreamReader(limit=1 << 23)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def reply(question):
        try:
            line = json.dumps({"seq": question["seq"]} | await answer(question, handles, hello, kind))
        except Exception as error:
            line = json.dumps({"seq": question["seq"], "failed": repr(error)})
        print(line, file=answers, flush=True)

    while line:
        task = asyncio.create_task(reply(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        line = await reader.readline()
    os._exit(0)  # what a thread still waits for does not matter any more


def serve(hello, kind):
    """Answers questions, the first of which is read before the event loop: a process is copied while it waits for
    that one, and an event loop survives no fork."""
    unbuffered = open(0, "rb", buffering=0, closefd=False)
    asyncio.run(main(unbuffered.readline(), hello, kind))
