// SPDX-License-Identifier: MIT OR Apache-2.0

// mdlayher/netlink and mdlayher/genetlink. ../clients.toml has what they need and how this is built.
// A handle is one netlink.Conn, with a genetlink.Conn on top of it. Requests are Execute, events are Receive. Both
// packages say that a Conn may be used by several goroutines.
package main

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

type conn struct {
	*netlink.Conn
	generic  *genetlink.Conn
	protocol int
}

func encode(list []attribute) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		for _, a := range list {
			if a.Nest != nil {
				e.Nested(nest, encode(*a.Nest))
			} else {
				e.Bytes(a.encoded())
			}
		}
		return nil
	}
}

func decode(d *netlink.AttributeDecoder) ([]object, error) {
	list := []object{}
	for d.Next() {
		if d.Type() != nest {
			list = append(list, shown(d.Type(), d.Bytes()))
			continue
		}
		d.Nested(func(inner *netlink.AttributeDecoder) error {
			attributes, err := decode(inner)
			list = append(list, object{"nest": attributes})
			return err
		})
	}
	return list, d.Err()
}

func ended(err error) object {
	var op *netlink.OpError
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return object{"end": "timeout"}
	case strings.Contains(err.Error(), "mismatched sequence"), strings.Contains(err.Error(), "mismatched PID"):
		return object{"end": "foreign"}
	case errors.Is(err, syscall.ENOBUFS):
		return object{"end": "overrun"}
	case !errors.As(err, &errno):
		return object{"end": "library", "words": err.Error()}
	case !errors.As(err, &op) || op.Message == "":
		return object{"end": "error", "errno": errno}
	}
	return object{"end": "error", "errno": errno, "message": op.Message, "offset": op.Offset}
}

var showGeneric = messages(func(m genetlink.Message) (object, error) {
	d, err := netlink.NewAttributeDecoder(m.Data)
	if err != nil {
		return nil, err
	}
	attributes, err := decode(d)
	return object{"command": m.Header.Command, "attributes": attributes}, err
})

var showRaw = messages(func(m netlink.Message) (object, error) {
	return object{"type": m.Header.Type, "flags": m.Header.Flags, "seq": m.Header.Sequence,
		"payload": toNumbers(m.Data)}, nil
})

func (c *conn) resolve(name string) (uint16, object, error) {
	family, err := c.generic.GetFamily(name)
	groups := object{}
	for _, group := range family.Groups {
		groups[group.Name] = group.ID
	}
	return family.ID, groups, err
}

func (c *conn) request(q question) ([]object, error) {
	flags := netlink.Request | netlink.HeaderFlags(q.flags())
	if q.Family == "" {
		header := netlink.Header{Type: netlink.HeaderType(q.Type), Flags: flags}
		return c.requestRaw(netlink.Message{Header: header, Data: toBytes(q.Payload)})
	}
	e := netlink.NewAttributeEncoder()
	encode(q.Attributes)(e)
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: q.Command, Version: 1}, Data: data}
	msgs, err := c.generic.Execute(m, q.Type, flags)
	if q.Expects == "ack" { // is the one message, which its callers do not look at
		msgs = nil
	}
	return showGeneric(msgs, err)
}

func (c *conn) requestRaw(m netlink.Message) ([]object, error) {
	if c.protocol != syscall.NETLINK_CONNECTOR { // which has sequence numbers of its own
		return showRaw(c.Execute(m))
	}
	if _, err := c.Send(m); err != nil {
		return nil, err
	}
	return showRaw(c.Receive())
}

func (c *conn) nextEvent() ([]object, error) {
	if c.protocol != syscall.NETLINK_GENERIC {
		return showRaw(c.Receive())
	}
	msgs, _, err := c.generic.Receive()
	return showGeneric(msgs, err)
}

func (c *conn) setOption(wish string) error {
	return c.SetOption(map[string]netlink.ConnOption{
		"ext_ack": netlink.ExtendedAcknowledge, "cap_ack": netlink.CapAcknowledge}[wish], true)
}

func open(protocol int) (library, error) {
	c, err := netlink.Dial(protocol, nil)
	if err != nil {
		return nil, err
	}
	return &conn{c, genetlink.NewConn(c), protocol}, nil
}

func main() {
	serve(greetingOf("mdlayher/netlink", version, "type flags seq sender", map[string]string{
		"proc-events": "the package has no functions for them",
		"warnings":    "an acknowledgement's text is not handed over"}), open, ended)
}
