// SPDX-License-Identifier: MIT OR Apache-2.0

// vishvananda/netlink, its package nl. Debian: golang-go golang-github-vishvananda-netlink-dev. In this folder:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode CGO_ENABLED=0 go build vishvananda.go lines.go
//
// A handle is what the package's own netlink.Handle is made of: one nl.SocketHandle, which all NetlinkRequests use. Events
// come by nl.Subscribe(), which takes all groups at once: joining or leaving one makes a new subscription.
package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

type handle struct {
	protocol int
	requests *nl.NetlinkSocket
	sockets  map[int]*nl.SocketHandle // of the requests, by protocol
	families map[string]uint16
	groups   []uint
	events   *nl.NetlinkSocket
}

func encode(list []attribute, add func(nl.NetlinkRequestData)) {
	native := nl.NativeEndian()
	for _, a := range list {
		switch {
		case a.Number != nil:
			add(nl.NewRtAttr(1, nl.Uint32Attr(*a.Number)))
		case a.Text != nil:
			add(nl.NewRtAttr(3, nl.ZeroTerminated(*a.Text)))
		case a.Nest != nil:
			nest := nl.NewRtAttr(4|int(nl.NLA_F_NESTED), nil)
			encode(*a.Nest, nest.AddChild)
			add(nest)
		case a.Wide != nil:
			data := make([]byte, 8)
			native.PutUint64(data, *a.Wide)
			add(nl.NewRtAttr(5, data))
		default:
			add(nl.NewRtAttr(2, toBytes(a.Filler)))
		}
	}
}

func decode(data []byte) ([]object, error) {
	native := nl.NativeEndian()
	attrs, err := nl.ParseRouteAttr(data)
	list := []object{}
	for _, a := range attrs {
		// As the package itself does where an attribute may have flags.
		switch kind := a.Attr.Type & nl.NLA_TYPE_MASK; kind {
		case 1:
			list = append(list, object{"number": native.Uint32(a.Value)})
		case 2:
			list = append(list, object{"filler": toNumbers(a.Value)})
		case 3:
			list = append(list, object{"text": nl.BytesToString(a.Value)})
		case 4:
			nest, e := decode(a.Value)
			list = append(list, object{"nest": nest})
			if e != nil {
				err = e
			}
		case 5:
			list = append(list, object{"wide": native.Uint64(a.Value)})
		default:
			list = append(list, object{"unknown": []any{kind, toNumbers(a.Value)}})
		}
	}
	return list, err
}

// ended tells how a call ended that returned err.
func ended(err error) object {
	var errno syscall.Errno
	switch {
	case err == nil:
		return object{"end": "done"}
	case errors.Is(err, unix.EAGAIN):
		return object{"end": "timeout"}
	case errors.Is(err, unix.ENOBUFS):
		return object{"end": "overrun"}
	case strings.Contains(err.Error(), "Wrong Seq nr"), strings.Contains(err.Error(), "Wrong sender portid"):
		return object{"end": "foreign"}
	case errors.As(err, &errno):
		return object{"end": "error", "errno": int(errno)}
	}
	return object{"end": "library", "words": err.Error()}
}

// told shows payloads, which are all that Execute hands over of messages.
func (h *handle) told(payloads [][]byte, err error) object {
	shown := []object{}
	for _, data := range payloads {
		if h.protocol != unix.NETLINK_GENERIC {
			shown = append(shown, object{"payload": toNumbers(data)})
			continue
		}
		if len(data) < nl.SizeofGenlmsg {
			err = fmt.Errorf("a message of %d bytes", len(data))
			break
		}
		list, e := decode(data[nl.SizeofGenlmsg:])
		if e != nil {
			err = e
			break
		}
		shown = append(shown, object{"command": nl.DeserializeGenlmsg(data).Command, "attributes": list})
	}
	outcome := ended(err)
	outcome["messages"] = shown
	return outcome
}

func (h *handle) resolve(name string) object {
	family, err := netlink.GenlFamilyGet(name)
	outcome := ended(err)
	if err == nil {
		h.families[name] = family.ID
		groups := object{}
		for _, group := range family.Groups {
			groups[group.Name] = group.ID
		}
		outcome["family"] = object{"id": family.ID, "groups": groups}
	}
	return outcome
}

func timeout(q question) *unix.Timeval {
	time := unix.NsecToTimeval(int64(q.Deadline_ms) * 1000000)
	return &time
}

func (h *handle) request(q question) object {
	flags := map[string]int{"": unix.NLM_F_DUMP, "ack": unix.NLM_F_ACK, "both": unix.NLM_F_ACK}[q.Expects]
	req := nl.NewNetlinkRequest(int(q.Type), flags)
	if q.Family != "" {
		if _, ok := h.families[q.Family]; !ok {
			if outcome := h.resolve(q.Family); outcome["end"] != "done" {
				return outcome
			}
		}
		req.Type = h.families[q.Family]
		req.AddData(&nl.Genlmsg{Command: q.Command, Version: 1})
		encode(q.Attributes, req.AddData)
	} else {
		req.AddRawData(toBytes(q.Payload))
	}
	h.requests.SetReceiveTimeout(timeout(q))
	if q.Expects == "nothing" {
		return ended(h.requests.Send(req))
	}
	req.Sockets = h.sockets
	return h.told(req.Execute(h.protocol, 0))
}

func (h *handle) setMembership(q question, joins bool) object {
	groups := []uint{}
	for _, group := range h.groups {
		if group != uint(q.Number) {
			groups = append(groups, group)
		}
	}
	if joins {
		groups = append(groups, uint(q.Number))
	}
	events, err := nl.Subscribe(h.protocol, groups...)
	if err == nil {
		h.closeEvents()
		h.groups, h.events = groups, events
	}
	return ended(err)
}

func (h *handle) nextEvent(q question) object {
	if h.events == nil {
		return object{"end": "timeout"}
	}
	h.events.SetReceiveTimeout(timeout(q))
	msgs, from, err := h.events.Receive()
	payloads := [][]byte{}
	for _, m := range msgs {
		payloads = append(payloads, m.Data)
	}
	outcome := h.told(payloads, err)
	for i, shown := range outcome["messages"].([]object) {
		header := msgs[i].Header
		shown["type"], shown["flags"], shown["seq"], shown["sender"] = header.Type, header.Flags, header.Seq, from.Pid
	}
	return outcome
}

func (h *handle) closeEvents() {
	if h.events != nil {
		h.events.Close()
	}
}

func (h *handle) close() {
	h.closeEvents()
	h.requests.Close()
}

func open(q question) (library, object, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), q.Protocol)
	if err != nil {
		return nil, nil, err
	}
	port, _ := socket.GetPid()
	ignored := []string{}
	for option, wished := range map[string]bool{"ext_ack": q.Options.Ext_ack, "cap_ack": q.Options.Cap_ack,
		"strict": q.Options.Strict, "buffer": q.Options.Buffer != 0} {
		if wished {
			ignored = append(ignored, option)
		}
	}
	sockets := map[int]*nl.SocketHandle{q.Protocol: {Socket: socket}}
	h := &handle{protocol: q.Protocol, requests: socket, sockets: sockets, families: map[string]uint16{}}
	return h, object{"port": port, "ignored": ignored}, nil
}

// version is that of the Debian package, set by the linker.
var version = "unknown"

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
		"parallel-calls": "a socket is locked for as long as a request waits"}), open)
}
