// SPDX-License-Identifier: MIT OR Apache-2.0

// mdlayher/netlink and mdlayher/genetlink. Debian: golang-go golang-github-mdlayher-netlink-dev
// golang-github-mdlayher-genetlink-dev. In this folder:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode CGO_ENABLED=0 go build mdlayher.go lines.go
//
// A handle is one netlink.Conn, with a genetlink.Conn on top of it for NETLINK_GENERIC. Requests are Execute, which
// sends, receives and checks; events are Receive. Both packages say that a Conn may be used by several goroutines.
package main

import (
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

const connector = 11

type handle struct {
	conn     *netlink.Conn
	generic  *genetlink.Conn
	families sync.Map // of genetlink.Family, by name
	protocol int
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

func toldGeneric(msgs []genetlink.Message, err error) object {
	shown := []object{}
	for _, m := range msgs {
		d, e := netlink.NewAttributeDecoder(m.Data)
		if e != nil {
			err = e
			break
		}
		list, e := decode(d)
		if e != nil {
			err = e
			break
		}
		shown = append(shown, object{"command": m.Header.Command, "attributes": list})
	}
	outcome := ended(err)
	outcome["messages"] = shown
	return outcome
}

func toldRaw(msgs []netlink.Message, err error) object {
	shown := []object{}
	for _, m := range msgs {
		shown = append(shown, object{"type": m.Header.Type, "flags": m.Header.Flags, "seq": m.Header.Sequence,
			"payload": toNumbers(m.Data)})
	}
	outcome := ended(err)
	outcome["messages"] = shown
	return outcome
}

func (h *handle) resolve(name string) object {
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
	return outcome
}

func (h *handle) setDeadline(q question) {
	h.conn.SetDeadline(time.Now().Add(time.Duration(q.Deadline_ms) * time.Millisecond))
}

func (h *handle) request(q question) object {
	h.setDeadline(q)
	flags := map[string]netlink.HeaderFlags{"": netlink.Dump, "ack": netlink.Acknowledge, "both": netlink.Acknowledge}[q.Expects]
	flags |= netlink.Request
	if q.Family == "" {
		return h.requestRaw(q, flags)
	}
	if _, ok := h.families.Load(q.Family); !ok {
		if outcome := h.resolve(q.Family); outcome["end"] != "done" {
			return outcome
		}
	}
	known, _ := h.families.Load(q.Family)
	id := known.(genetlink.Family).ID
	e := netlink.NewAttributeEncoder()
	encode(e, q.Attributes)
	data, err := e.Encode()
	if err != nil {
		return ended(err)
	}
	m := genetlink.Message{Header: genetlink.Header{Command: q.Command, Version: 1}, Data: data}
	if q.Expects == "nothing" {
		_, err := h.generic.Send(m, id, flags)
		return ended(err)
	}
	msgs, err := h.generic.Execute(m, id, flags)
	if q.Expects == "ack" { // is the one message, which its callers do not look at
		return ended(err)
	}
	return toldGeneric(msgs, err)
}

func (h *handle) requestRaw(q question, flags netlink.HeaderFlags) object {
	m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(q.Type), Flags: flags}, Data: toBytes(q.Payload)}
	if q.Expects != "nothing" && h.protocol != connector { // which has sequence numbers of its own
		return toldRaw(h.conn.Execute(m))
	}
	if _, err := h.conn.Send(m); err != nil || q.Expects == "nothing" {
		return ended(err)
	}
	return toldRaw(h.conn.Receive())
}

func (h *handle) setMembership(q question, joins bool) object {
	if joins {
		return ended(h.conn.JoinGroup(uint32(q.Number)))
	}
	return ended(h.conn.LeaveGroup(uint32(q.Number)))
}

func (h *handle) nextEvent(q question) object {
	h.setDeadline(q)
	if h.generic == nil {
		return toldRaw(h.conn.Receive())
	}
	msgs, _, err := h.generic.Receive()
	return toldGeneric(msgs, err)
}

func (h *handle) close() {
	h.conn.Close()
}

func open(q question) (library, object, error) {
	conn, err := netlink.Dial(q.Protocol, nil)
	if err != nil {
		return nil, nil, err
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
	return h, object{"ignored": []string{}}, err
}

// version is that of the Debian package, set by the linker.
var version = "unknown"

func main() {
	serve(greetingOf("mdlayher/netlink", version, "type flags seq sender", map[string]string{
		"proc-events": "the package has no functions for them",
		"warnings":    "an acknowledgement's text is not handed over"}), open)
}
