//! Enough of NETLINK_ROUTE to reply to requests: one interface, the loopback, which can
//! be listed, and which a request may leave as it is.

use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nlconform::wire::attr::Attrs;
use nlconform::wire::message::{Message, NLM_F_DUMP, NLM_F_MULTI};
use nlconform::wire::{route, u32_at};

use super::credentials::Capability;
use super::dump;
use super::kernel::{Dumper, Kernel};
use super::message::{Buffer, ExtAck, Request, refused};
use super::progress::Progress;

/// No request is of this type or a higher one (`RTM_MAX` + 1, rounded up).
const LAST: u16 = 0x100;
/// `struct ifinfomsg`.
const LINK: usize = 16;
/// `IFLA_IFNAME`.
const IFNAME: u16 = 3;
/// One request.
pub fn receive(kernel: &Arc<Kernel>, request: &Request, extack: &mut ExtAck) -> i64 {
    match request.header.kind {
        LAST.. => refused(Errno::EOPNOTSUPP),
        _ if request.payload().is_empty() => 0,
        route::RTM_GETLINK if request.header.flags & NLM_F_DUMP != 0 => {
            dump::start(kernel, request, Box::new(Links { reported: false }), None, extack)
        }
        route::RTM_GETLINK | route::RTM_NEWLINK if request.payload().len() < LINK => refused(Errno::EINVAL),
        route::RTM_GETLINK => match u32_at(request.payload(), 4) {
            Some(1) => kernel.unicast(libc::NETLINK_ROUTE, request.portid, loopback(request).encode()),
            Some(_) => refused(Errno::ENODEV),
            None => refused(Errno::EINVAL),
        },
        _ if !request.allows(Capability::NetAdmin) => refused(Errno::EPERM),
        route::RTM_NEWLINK => match u32_at(request.payload(), 4) {
            Some(1) => 0,
            Some(_) => refused(Errno::ENODEV),
            None => refused(Errno::EINVAL),
        },
        _ => refused(Errno::EOPNOTSUPP),
    }
}

/// The reply that describes the loopback.
fn loopback(request: &Request) -> Message {
    Message::new(route::RTM_NEWLINK)
        .seq(request.header.seq)
        .portid(request.portid)
        .bytes(&[0, 0, 4, 3]) // ARPHRD_LOOPBACK
        .bytes(&1u32.to_ne_bytes())
        .bytes(&[0; 8])
        .attrs(Attrs::new().string(IFNAME, "lo"))
}

/// The dump of the interfaces.
struct Links {
    reported: bool,
}

impl Dumper for Links {
    fn dumpit(
        &mut self,
        _kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        extack: &mut ExtAck,
    ) -> i64 {
        let payload = progress.request.payload();
        let filters = payload.get(8..LINK).is_none_or(|flags| flags.iter().any(|byte| *byte != 0));
        if progress.strict && filters {
            extack.text = Some("Invalid values in header for link dump request".into());
            return refused(Errno::EINVAL);
        }
        if self.reported {
            return 0;
        }
        self.reported = true;
        buffer.put(&loopback(&progress.request).with(NLM_F_MULTI));
        buffer.bytes.len() as i64
    }
}
