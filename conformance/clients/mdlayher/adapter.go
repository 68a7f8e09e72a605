// SPDX-License-Identifier: MIT OR Apache-2.0

// mdlayher/netlink and mdlayher/genetlink. Debian: golang-go golang-github-mdlayher-netlink-dev
// golang-github-mdlayher-genetlink-dev. In this folder:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode CGO_ENABLED=0 go build adapter.go
//
// A handle is one netlink.Conn, with a genetlink.Conn on top of it for NETLINK_GENERIC. Requests are Execute, which
// sends, receives and checks; events are Receive. Both packages say that a Conn may be used by several goroutines.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

const connector = 11

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

type handle struct {
	conn     *netlink.Conn
	generic  *genetlink.Conn
	families sync.Map // of genetlink.Family, by name
	protocol int
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

func encode(e *netlink.AttributeEncoder, list []attribute) error {
	for _, a := range list {
		switch {
		case a.Number != nil:
			e.Uint32(1, *a.Number)
		case a.Text != nil:
			e.String(3, *a.Text)
		case a.Nest != nil:
			e.Nested(4, func(inner *netlink.AttributeEncoder) error { return encode(inner, *a.Nest) })
		case a.Wide != nil:
			e.Uint64(5, *a.Wide)
		default:
			e.Bytes(2, toBytes(a.Filler))
		}
	}
	return nil
}

func decode(d *netlink.AttributeDecoder) ([]object, error) {
	list := []object{}
	for d.Next() {
		switch d.Type() {
		case 1:
			list = append(list, object{"number": d.Uint32()})
		case 2:
			list = append(list, object{"filler": toNumbers(d.Bytes())})
		case 3:
			list = append(list, object{"text": d.String()})
		case 4:
			d.Nested(func(inner *netlink.AttributeDecoder) error {
				nest, err := decode(inner)
				list = append(list, object{"nest": nest})
				return err
			})
		case 5:
			list = append(list, object{"wide": d.Uint64()})
		default:
			list = append(list, object{"unknown": []any{d.Type(), toNumbers(d.Bytes())}})
		}
	}
	return list, d.Err()
}

func generic(m genetlink.Message) (object, error) {
	d, err := netlink.NewAttributeDecoder(m.Data)
	if err != nil {
		return nil, err
	}
	list, err := decode(d)
	return object{"command": m.Header.Command, "attributes": list}, err
}

func raw(m netlink.Message) object {
	return object{"type": m.Header.Type, "flags": m.Header.Flags, "seq": m.Header.Sequence, "payload": toNumbers(m.Data)}
}

// ended tells how a call ended that returned err.
func ended(err error) object {
	var op *netlink.OpError
	var errno syscall.Errno
	switch {
	case err == nil:
		return object{"end": "done"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return object{"end": "timeout"}
	case strings.Contains(err.Error(), "mismatched sequence"), strings.Contains(err.Error(), "mismatched PID"):
		return object{"end": "foreign"}
	case errors.Is(err, syscall.ENOBUFS):
		return object{"end": "overrun"}
	case !errors.As(err, &errno):
		return object{"end": "library", "words": err.Error()}
	}
	outcome := object{"end": "error", "errno": int(errno)}
	if errors.As(err, &op) && op.Message != "" {
		outcome["message"] = op.Message
	}
	if op != nil && op.Offset != 0 {
		outcome["offset"] = op.Offset
	}
	return outcome
}

// told adds the messages, of generic netlink or others, to how the call ended.
func told(gmsgs []genetlink.Message, msgs []netlink.Message, err error) object {
	shown := []object{}
	for _, m := range gmsgs {
		one, e := generic(m)
		if e != nil {
			err = e
			break
		}
		shown = append(shown, one)
	}
	for _, m := range msgs {
		shown = append(shown, raw(m))
	}
	outcome := ended(err)
	outcome["messages"] = shown
	return outcome
}

func (h *handle) resolve(name string) (genetlink.Family, object) {
	if h.generic == nil {
		return genetlink.Family{}, object{"end": "library", "words": "the handle is not of NETLINK_GENERIC"}
	}
	family, err := h.generic.GetFamily(name)
	outcome := ended(err)
	if err == nil {
		h.families.Store(name, family)
		groups := object{}
		for _, group := range family.Groups {
			groups[group.Name] = group.ID
		}
		outcome["family"] = object{"id": family.ID, "groups": groups}
	}
	return family, outcome
}

func (h *handle) request(q question) object {
	flags := map[string]netlink.HeaderFlags{"": netlink.Dump, "ack": netlink.Acknowledge, "both": netlink.Acknowledge}[q.Expects]
	flags |= netlink.Request
	if q.Family != "" {
		known, ok := h.families.Load(q.Family)
		if !ok {
			family, outcome := h.resolve(q.Family)
			if outcome["end"] != "done" {
				return outcome
			}
			known = family
		}
		e := netlink.NewAttributeEncoder()
		encode(e, q.Attributes)
		data, err := e.Encode()
		if err != nil {
			return ended(err)
		}
		m := genetlink.Message{Header: genetlink.Header{Command: q.Command, Version: 1}, Data: data}
		if q.Expects == "nothing" {
			_, err := h.generic.Send(m, known.(genetlink.Family).ID, flags)
			return ended(err)
		}
		msgs, err := h.generic.Execute(m, known.(genetlink.Family).ID, flags)
		if q.Expects == "ack" { // is the one message, which its callers do not look at
			return ended(err)
		}
		return told(msgs, nil, err)
	}
	m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(q.Type), Flags: flags}, Data: toBytes(q.Payload)}
	if q.Expects == "nothing" || h.protocol == connector { // which has sequence numbers of its own
		_, err := h.conn.Send(m)
		if err != nil || q.Expects == "nothing" {
			return ended(err)
		}
		msgs, err := h.conn.Receive()
		return told(nil, msgs, err)
	}
	msgs, err := h.conn.Execute(m)
	return told(nil, msgs, err)
}

func (h *handle) call(q question) object {
	if err := h.conn.SetDeadline(time.Now().Add(time.Duration(q.Deadline_ms) * time.Millisecond)); err != nil {
		return ended(err)
	}
	switch q.Call {
	case "resolve":
		_, outcome := h.resolve(q.Family)
		return outcome
	case "request", "dump":
		return h.request(q)
	case "join":
		return ended(h.conn.JoinGroup(uint32(q.Number)))
	case "leave":
		return ended(h.conn.LeaveGroup(uint32(q.Number)))
	}
	if h.generic == nil {
		msgs, err := h.conn.Receive()
		return told(nil, msgs, err)
	}
	gmsgs, _, err := h.generic.Receive()
	return told(gmsgs, nil, err)
}

func open(q question) (*handle, error) {
	conn, err := netlink.Dial(q.Protocol, nil)
	if err != nil {
		return nil, err
	}
	h := &handle{conn: conn, protocol: q.Protocol}
	if q.Protocol == 16 {
		h.generic = genetlink.NewConn(conn)
	}
	wishes := map[netlink.ConnOption]bool{netlink.ExtendedAcknowledge: q.Options.Ext_ack,
		netlink.CapAcknowledge: q.Options.Cap_ack, netlink.GetStrictCheck: q.Options.Strict}
	for option, wished := range wishes {
		if wished && err == nil {
			err = conn.SetOption(option, true)
		}
	}
	if q.Options.Buffer != 0 && err == nil {
		err = conn.SetReadBuffer(q.Options.Buffer)
	}
	return h, err
}

func greeting() object {
	capabilities := object{"proc-events": "the package has no functions for them",
		"warnings": "an acknowledgement's text is not handed over"}
	for _, able := range strings.Fields(`generic raw connector dump events big-groups shared-socket ext-ack ext-ack-offset
		options receive-buffer deadlines parallel-calls`) {
		capabilities[able] = nil
	}
	return object{"version": 1, "language": "Go", "hidden": []string{"type", "flags", "seq", "sender"}, "own_code": []string{},
		"identity": object{"role": "client", "name": "mdlayher/netlink", "version": version, "capabilities": capabilities}}
}

// version is that of the Debian package, set by the linker.
var version = "unknown"

func main() {
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
			answer(q, "ok", greeting())
		case "open":
			h, err := open(q)
			if err != nil {
				answer(q, "failed", err.Error())
				continue
			}
			handles = append(handles, h)
			answer(q, "ok", object{"handle": len(handles) - 1, "ignored": []string{}})
		case "close":
			handles[q.Handle].conn.Close()
			answer(q, "ok", nil)
		case "listen":
			answer(q, "unsupported", "the package has no functions for process events")
		default:
			go func(h *handle) { answer(q, "ok", h.call(q)) }(handles[q.Handle])
		}
	}
}
