// SPDX-License-Identifier: MIT OR Apache-2.0

// What adapters in Go share: the lines of docs/client-adapter.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
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
	Seq, Handle, Protocol, Number int
	Call, Family, Expects         string
	Command                       uint8
	Type                          uint16
	Payload                       []int
	Attributes                    []attribute
	Options                       struct {
		Ext_ack, Cap_ack, Strict bool
		Buffer                   int
	}
	Deadline_ms int
}

// A library is what an adapter defines: an open handle. All but close return outcomes.
type library interface {
	resolve(family string) object
	request(q question) object // and dumps, whose Expects is empty
	setMembership(q question, joins bool) object
	nextEvent(q question) object
	close()
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

func outcomeOf(h library, q question) object {
	switch q.Call {
	case "resolve":
		return h.resolve(q.Family)
	case "request", "dump":
		return h.request(q)
	case "join", "leave":
		return h.setMembership(q, q.Call == "join")
	case "next-event":
		return h.nextEvent(q)
	}
	return nil
}

// serve answers questions until there are no more. Those about handles may wait for each other.
func serve(greeting object, open func(q question) (library, object, error)) {
	var printing sync.Mutex
	answer := func(q question, member string, value any) {
		line, _ := json.Marshal(object{"seq": q.Seq, member: value})
		printing.Lock()
		defer printing.Unlock()
		fmt.Println(string(line))
	}
	handles := []library{}
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
			h, opened, err := open(q)
			if err != nil {
				answer(q, "failed", err.Error())
				continue
			}
			opened["handle"] = len(handles)
			handles = append(handles, h)
			answer(q, "ok", opened)
		case "close":
			handles[q.Handle].close()
			answer(q, "ok", nil)
		default:
			go func(h library) {
				if outcome := outcomeOf(h, q); outcome != nil {
					answer(q, "ok", outcome)
				} else {
					answer(q, "unsupported", "the package has no functions for this")
				}
			}(handles[q.Handle])
		}
	}
}
