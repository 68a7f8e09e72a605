//! rust-netlink: the crates genetlink, netlink-proto, netlink-packet-core and netlink-sys.
//!
//! A handle of NETLINK_GENERIC is a connection of genetlink, which brings an older netlink-proto along; one of another
//! protocol is a connection of netlink-proto. Answers are streams, and multicasts come by the connection's stream of
//! unsolicited messages. Groups are joined on its socket, by a second descriptor, because the connection has the first.

mod answers;
mod bytes;
mod connection;
mod messages;

use adapter::{Call, End, Family, Greeting, Handle, Options, Question, serve};
use answers::failed;
use connection::{Connection, Link, RUNTIME, connect};
use messages::Client;

impl Handle for Connection {
    fn open(protocol: i32, options: &Options) -> Result<(Connection, Vec<&'static str>), String> {
        Ok((connect(protocol, options).map_err(|error| error.to_string())?, Vec::new()))
    }

    fn resolve(&self, family: &str) -> Result<Family, End> {
        let Link::Generic(_, handle) = &self.link else { return Err(End::library(&"not a generic handle")) };
        messages::set_family_name(family);
        let found = RUNTIME.block_on(async {
            handle.clear_family_cache().await; // the handle keeps what it has found
            handle.resolve_family::<Client>().await.map_err(|error| failed(&error))
        })?;
        Ok(Family { id: found.id, groups: Some(found.multicast_groups.into_iter().collect()) })
    }

    fn request(&self, question: &Question, call: &Call) -> Result<(), End> {
        question.family.iter().for_each(|family| messages::set_family_name(family));
        self.wait(call, self.ask(question, call))
    }

    fn set_membership(&self, group: u32, joins: bool) -> Result<(), End> {
        let socket = self.socket.blocking_lock();
        let set = if joins { socket.add_membership(group) } else { socket.drop_membership(group) };
        set.map_err(|error| End::system(&error))
    }

    fn next_event(&self, call: &Call) -> Result<(), End> {
        self.wait(call, self.event(call))
    }

    fn close(&self) {
        self.closed.notify_waiters();
    }
}

fn main() {
    serve::<Connection>(&Greeting {
        name: "rust-netlink",
        version: "genetlink 0.3.0 with netlink-proto 0.13.0; netlink-proto 0.14.1",
        hidden: &[],
        own_code: &["groups are joined by a second descriptor"],
        lacks: &[
            ("proc-events", Some("the crates have none")),
            ("ext-ack", Some("its ErrorMessage has a code only")),
            ("ext-ack-offset", Some("its ErrorMessage has a code only")),
            ("warnings", Some("acknowledgements are not handed over")),
        ],
    });
}
