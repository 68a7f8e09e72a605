// SPDX-License-Identifier: MIT OR Apache-2.0

// What adapters in Go share: the lines of docs/client-adapter.md.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

type object = map[string]any

type attribute struct {
	Number *uint32
	Filler []int
	Text   *string
	Nest   *[]attribute
	Wide   *uint64
}

type question struct {
	Seq, Handle, Protocol int
	Number                uint32
	Call, Family, Expects string
	Command               uint8
	Type                  uint16
	Payload               []int
	Attributes            []attribute
	Options               struct {
		Ext_ack, Cap_ack bool
		Buffer           int
	}
	Deadline_ms int
}

// flags are those that a request, or a dump, asks for its answer with.
func (q question) flags() int {
	const ack, dump = 4, 0x300 // NLM_F_ACK, NLM_F_DUMP
	return map[string]int{"": dump, "ack": ack, "both": ack}[q.Expects]
}

// A library is what an adapter defines: an open handle.
type library interface {
	SetDeadline(time.Time) error // of the calls that follow
	resolve(family string) (id uint16, groups object, err error)
	request(q question) ([]object, error) // also a dump; of Type, a family's ID
	JoinGroup(uint32) error
	LeaveGroup(uint32) error
	nextEvent() ([]object, error)
	Close() error
}

// A tunable library has socket options; for one that has not, the greeting says so.
type tunable interface {
	setOption(wish string) error // ext_ack, cap_ack
	SetReadBuffer(bytes int) error
}

// fulfil sets the options that a question wishes for, and names those that the library has not.
func fulfil(h library, q question) (ignored []string, err error) {
	can, able := h.(tunable)
	set := func(name string, wished bool, set func() error) {
		if wished && !able {
			ignored = append(ignored, name)
		} else if wished && err == nil {
			err = set()
		}
	}
	set("ext_ack", q.Options.Ext_ack, func() error { return can.setOption("ext_ack") })
	set("cap_ack", q.Options.Cap_ack, func() error { return can.setOption("cap_ack") })
	set("buffer", q.Options.Buffer != 0, func() error { return can.SetReadBuffer(q.Options.Buffer) })
	return ignored, err
}

// A handle is a library with the IDs of the families that have been resolved.
type handle struct {
	library
	families sync.Map
}

func toBytes(numbers []int) []byte {
	bytes := make([]byte, len(numbers))
	for i, number := range numbers {
		bytes[i] = byte(number)
	}
	return bytes
}

func toNumbers(bytes []byte) []int {
	numbers := make([]int, len(bytes))
	for i, b := range bytes {
		numbers[i] = int(b)
	}
	return numbers
}

// native is the byte order of the machines that the adapters in Go are built for.
var native = binary.LittleEndian

// nest is the type of a nest.
const nest = 4

// encoded has the type of an attribute that is no nest, and its payload.
func (a attribute) encoded() (uint16, []byte) {
	switch {
	case a.Number != nil:
		return 1, native.AppendUint32(nil, *a.Number)
	case a.Text != nil:
		return 3, append([]byte(*a.Text), 0)
	case a.Wide != nil:
		return 5, native.AppendUint64(nil, *a.Wide)
	}
	return 2, toBytes(a.Filler)
}

// shown shows an attribute that is no nest.
func shown(kind uint16, data []byte) object {
	switch {
	case kind == 1 && len(data) == 4:
		return object{"number": native.Uint32(data)}
	case kind == 2:
		return object{"filler": toNumbers(data)}
	case kind == 3:
		text, _, _ := strings.Cut(string(data), "\x00")
		return object{"text": text}
	case kind == 5 && len(data) == 8:
		return object{"wide": native.Uint64(data)}
	}
	return object{"unknown": []any{kind, toNumbers(data)}}
}

// messages shows those that a function of the library returned, up to one that cannot be shown.
func messages[M any](show func(M) (object, error)) func([]M, error) ([]object, error) {
	return func(msgs []M, err error) (all []object, _ error) {
		for _, m := range msgs {
			one, wrong := show(m)
			if wrong != nil {
				return all, wrong
			}
			all = append(all, one)
		}
		return all, err
	}
}

// version is that of the Debian package, set by the linker.
var version = "unknown"

// greetingOf has all capabilities but those that lacks names, with the reasons.
func greetingOf(name, version, hidden string, lacks map[string]string) object {
	capabilities := object{}
	for _, able := range strings.Fields(`generic raw connector proc-events dump events big-groups shared-socket ext-ack
		ext-ack-offset warnings options receive-buffer deadlines parallel-calls`) {
		capabilities[able] = nil
		if reason, ok := lacks[able]; ok {
			capabilities[able] = reason
		}
	}
	return object{"version": 1, "language": "Go", "hidden": strings.Fields(hidden), "own_code": []string{},
		"identity": object{"role": "client", "name": name, "version": version, "capabilities": capabilities}}
}

// resolved asks the library for a family, and keeps what it says.
func (h *handle) resolved(name string) (object, error) {
	id, groups, err := h.resolve(name)
	if err == nil {
		h.families.Store(name, id)
	}
	return object{"id": id, "groups": groups}, err
}

// requested makes a request. A family is resolved at its first use on a handle.
func (h *handle) requested(q question) ([]object, error) {
	if q.Family != "" {
		if _, ok := h.families.Load(q.Family); !ok {
			if _, err := h.resolved(q.Family); err != nil {
				return nil, err
			}
		}
		id, _ := h.families.Load(q.Family)
		q.Type = id.(uint16)
	}
	return h.request(q)
}

// call makes a call: what is added to its outcome, and how it ended. The rest is what no library has.
func (h *handle) call(q question) (more object, err error, known bool) {
	h.SetDeadline(time.Now().Add(time.Duration(q.Deadline_ms) * time.Millisecond))
	var messages []object
	switch q.Call {
	case "resolve":
		family, err := h.resolved(q.Family)
		if err != nil {
			return nil, err, true
		}
		return object{"family": family}, nil, true
	case "request", "dump":
		messages, err = h.requested(q)
	case "join":
		err = h.JoinGroup(q.Number)
	case "leave":
		err = h.LeaveGroup(q.Number)
	case "next-event":
		messages, err = h.nextEvent()
	default:
		return nil, nil, false
	}
	if messages == nil {
		messages = []object{}
	}
	return object{"messages": messages}, err, true
}

// serve answers questions until there are no more; `ended` has the outcome of a call with an error. Those about handles may wait for each other.
func serve(greeting object, open func(protocol int) (library, error), ended func(error) object) {
	var printing sync.Mutex
	answer := func(q question, member string, value any) {
		line, _ := json.Marshal(object{"seq": q.Seq, member: value})
		printing.Lock()
		defer printing.Unlock()
		fmt.Println(string(line))
	}
	handles := []*handle{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			answer(q, "failed", err.Error())
			continue
		}
		switch q.Call {
		case "hello":
			answer(q, "ok", greeting)
		case "open":
			h, err := open(q.Protocol)
			var ignored []string
			if err == nil {
				ignored, err = fulfil(h, q)
			}
			if err != nil {
				answer(q, "failed", err.Error())
				continue
			}
			handles = append(handles, &handle{library: h})
			answer(q, "ok", object{"handle": len(handles) - 1, "ignored": append([]string{}, ignored...)})
		case "close":
			handles[q.Handle].Close()
			answer(q, "ok", nil)
		default:
			go func(h *handle) {
				outcome, err, known := h.call(q)
				if !known {
					answer(q, "unsupported", "the package has no functions for this")
					return
				}
				if outcome == nil {
					outcome = object{}
				}
				outcome["end"] = "done"
				if err != nil {
					for member, value := range ended(err) {
						outcome[member] = value
					}
				}
				answer(q, "ok", outcome)
			}(handles[q.Handle])
		}
	}
}
