//! Dump requests that the cases of several files need.

use nix::libc;

use crate::outcome::Failure;
use crate::port::provider::{Action, Family, On, Op};
use crate::scene::bus::{Bus, Socket};
use crate::wire::attr::{self, Attrs};
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_DUMP};
use crate::wire::route::{self, Link};

/// All families. On a small system this is one datagram.
pub fn families() -> Message {
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, Attrs::new()).with(NLM_F_DUMP).seq(7)
}

/// The controller's own policies: a few messages, then a datagram for NLMSG_DONE alone. So this dump
/// runs until the first receive, on any system.
pub fn policies() -> Message {
    let controller = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, controller).with(NLM_F_DUMP).seq(7)
}

/// The interfaces of the network namespace.
pub fn links() -> Message {
    route::link(route::RTM_GETLINK, Link::default()).with(NLM_F_DUMP).seq(7)
}

/// GETFAMILY for the controller: not a dump.
pub fn controller() -> Message {
    let controller = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_ID_CTRL);
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, controller)
}

/// A family whose command 1 dumps this many records of 500 bytes of filler.
pub fn recorder(records: u32) -> Family {
    Family::named("nlc_recorder").op(Op::dumping(1)).on(On::Dumpit, Action::records(records, 500))
}

/// The numbers of the records among these messages.
pub fn numbers(replies: &[Message]) -> Vec<u32> {
    replies.iter().filter_map(|reply| attr::find(&genl::attrs(reply), 1)?.u32()).collect()
}

/// The errno of an error or of the end of a dump, negative, as in the message.
pub fn status(message: &Message) -> i64 {
    message.status().unwrap_or(i32::MIN).into()
}

/// Bound sockets, which sock_diag lists with some 90 bytes each.
pub fn many_sockets(bus: &Bus<'_>, count: usize) -> Result<Vec<Socket>, Failure> {
    (0..count).map(|_| bus.bound(libc::NETLINK_USERSOCK)).collect()
}
