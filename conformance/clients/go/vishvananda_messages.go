// SPDX-License-Identifier: MIT OR Apache-2.0

// Attributes and errors of vishvananda/netlink, as the adapter's.
package main

import (
	"errors"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func encode(list []attribute, add func(nl.NetlinkRequestData)) {
	for _, a := range list {
		switch {
		case a.Nest != nil:
			attr := nl.NewRtAttr(nest|int(nl.NLA_F_NESTED), nil)
			encode(*a.Nest, attr.AddChild)
			add(attr)
		case a.Text != nil:
			add(nl.NewRtAttr(3, nl.ZeroTerminated(*a.Text)))
		default:
			kind, data := a.encoded()
			add(nl.NewRtAttr(int(kind), data))
		}
	}
}

func decode(data []byte) ([]object, error) {
	attrs, err := nl.ParseRouteAttr(data)
	list := []object{}
	for _, a := range attrs {
		// As the package itself does where an attribute may have flags.
		kind := a.Attr.Type & nl.NLA_TYPE_MASK
		if kind != nest {
			list = append(list, shown(kind, a.Value))
			continue
		}
		attributes, e := decode(a.Value)
		list = append(list, object{"nest": attributes})
		if e != nil {
			err = e
		}
	}
	return list, err
}

func ended(err error) object {
	var errno syscall.Errno
	switch {
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
