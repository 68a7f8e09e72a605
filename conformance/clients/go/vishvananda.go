// SPDX-License-Identifier: MIT OR Apache-2.0

// vishvananda/netlink, its package nl. ../clients.toml has what it needs and how this is built.
//
// A handle is what the package's own netlink.Handle is made of: one nl.SocketHandle, which all NetlinkRequests use. Events
// come by nl.Subscribe(), which takes all groups at once: joining or leaving one makes a new subscription.
package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

type conn struct {
	protocol int
	requests *nl.NetlinkSocket
	sockets  map[int]*nl.SocketHandle // of the requests, by protocol
	groups   []uint
	events   *nl.NetlinkSocket
}

// show shows a payload, which is all that Execute hands over of a message.
func (h *conn) show(data []byte) (object, error) {
	if h.protocol != unix.NETLINK_GENERIC {
		return object{"payload": toNumbers(data)}, nil
	}
	if len(data) < nl.SizeofGenlmsg {
		return nil, fmt.Errorf("a message of %d bytes", len(data))
	}
	attributes, err := decode(data[nl.SizeofGenlmsg:])
	return object{"command": nl.DeserializeGenlmsg(data).Command, "attributes": attributes}, err
}

func (h *conn) resolve(name string) (uint16, object, error) {
	family, err := netlink.GenlFamilyGet(name)
	groups := object{}
	if err != nil {
		return 0, groups, err
	}
	for _, group := range family.Groups {
		groups[group.Name] = group.ID
	}
	return family.ID, groups, nil
}

func (h *conn) SetDeadline(deadline time.Time) error {
	left := unix.NsecToTimeval(time.Until(deadline).Nanoseconds())
	if h.events != nil {
		h.events.SetReceiveTimeout(&left)
	}
	return h.requests.SetReceiveTimeout(&left)
}

func (h *conn) request(q question) ([]object, error) {
	req := nl.NewNetlinkRequest(int(q.Type), q.flags())
	req.Sockets = h.sockets
	if q.Family != "" {
		req.AddData(&nl.Genlmsg{Command: q.Command, Version: 1})
		encode(q.Attributes, req.AddData)
	} else {
		req.AddRawData(toBytes(q.Payload))
	}
	return messages(h.show)(req.Execute(h.protocol, 0))
}

// subscribe makes a subscription to these groups in place of the one before.
func (h *conn) subscribe(groups []uint) error {
	events, err := nl.Subscribe(h.protocol, groups...)
	if err == nil {
		h.closeEvents()
		h.groups, h.events = groups, events
	}
	return err
}

func (h *conn) JoinGroup(group uint32) error {
	return h.subscribe(append(h.groups, uint(group)))
}

func (h *conn) LeaveGroup(left uint32) error {
	groups := []uint{}
	for _, group := range h.groups {
		if group != uint(left) {
			groups = append(groups, group)
		}
	}
	return h.subscribe(groups)
}

func (h *conn) nextEvent() ([]object, error) {
	if h.events == nil {
		return nil, unix.EAGAIN
	}
	msgs, from, err := h.events.Receive()
	return messages(func(m syscall.NetlinkMessage) (object, error) {
		shown, err := h.show(m.Data)
		if err == nil {
			shown["type"], shown["flags"], shown["seq"] = m.Header.Type, m.Header.Flags, m.Header.Seq
			shown["sender"] = from.Pid
		}
		return shown, err
	})(msgs, err)
}

func (h *conn) closeEvents() {
	if h.events != nil {
		h.events.Close()
	}
}

func (h *conn) Close() error {
	h.closeEvents()
	h.requests.Close()
	return nil
}

func open(protocol int) (library, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), protocol)
	if err != nil {
		return nil, err
	}
	sockets := map[int]*nl.SocketHandle{protocol: {Socket: socket}}
	return &conn{protocol: protocol, requests: socket, sockets: sockets}, nil
}

func main() {
	none := "the package has no option for it"
	serve(greetingOf("vishvananda/netlink", version, "type flags seq sender", map[string]string{
		"connector":      "requests wait for answers by nlmsg_seq",
		"proc-events":    "ProcEventMonitor opens and listens in one, and has no deadline",
		"shared-socket":  "Subscribe opens a socket of its own",
		"ext-ack":        none,
		"ext-ack-offset": none,
		"warnings":       none,
		"options":        none,
		"receive-buffer": "a subscription has no option for it",
		"parallel-calls": "a socket is locked for as long as a request waits"}), open, ended)
}
