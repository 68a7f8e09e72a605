//! Memory of a family for each socket: that of the family netdev, for no module can have some.

use nix::errno::Errno;

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_errno};
use crate::port::Outgoing;
use crate::port::capability::Capability;
use crate::scene::bus::Bus;
use crate::wire::ack::Ack;
use crate::wire::attr::Attrs;
use crate::wire::genl;
use crate::wire::message::{Message, NLM_F_ACK, NLMSG_ERROR};

cases! {
    private_memory_is_there_at_each_use => "GENL-DSP-044";
    private_memory_is_made_or_refused => "GENL-MEM-007";
}

/// A request to bind a receive queue of a device that does not exist: it uses the private memory first.
fn binding(bus: &Bus<'_>) -> Result<Message, Failure> {
    bus.need(Capability::Netdev)?;
    let (ifindex, queues, fd) = (1, 2, 3); // NETDEV_A_DMABUF_*
    let attrs = Attrs::new().u32(ifindex, i32::MAX as u32).nest(queues, Attrs::new()).u32(fd, 0);
    let family = bus.controller()?.by_name(genl::NETDEV_FAMILY_NAME)??;
    Ok(genl::request(family.id, genl::NETDEV_CMD_BIND_RX, attrs).with(NLM_F_ACK).seq(7))
}

fn private_memory_is_there_at_each_use(bus: &Bus<'_>) -> Outcome {
    let (request, no_device) = (binding(bus)?, bus.expected("errno")?);
    let sockets = [bus.generic()?, bus.generic()?];
    for socket in sockets.iter().cycle().take(4) {
        expect_errno("NETDEV_CMD_BIND_RX", socket.ask(&request)?, no_device)?;
    }
    drop(sockets);
    expect_errno("NETDEV_CMD_BIND_RX after their close", bus.generic()?.ask(&request)?, no_device)
}

fn private_memory_is_made_or_refused(bus: &Bus<'_>) -> Outcome {
    let request = binding(bus)?;
    let outgoing = Outgoing { bytes: request.encode(), ..Outgoing::default() };
    let no_device: Errno = bus.expected("device")?;
    let expected = [no_device, bus.expected("errno")?, bus.expected("lost")?];
    bus.fail_each_of_step(
        || bus.generic(),
        |socket| socket.raw().send(&outgoing),
        |socket, sent| {
            let mut errors: Vec<Errno> = sent.err().into_iter().collect();
            let received = socket.receive_now(1024, 0);
            let messages = received.as_ref().map(|datagram| &datagram.messages[..]).unwrap_or_default();
            let acks = messages.iter().filter(|message| message.kind == NLMSG_ERROR).filter_map(Ack::read);
            errors.extend(acks.filter_map(|ack| ack.result().err()));
            errors.extend(received.as_ref().err().filter(|errno| **errno != Errno::EAGAIN));
            let all = errors.iter().all(|errno| expected.contains(errno));
            expect("errors", all && !errors.is_empty(), &format!("of {expected:?}"), &errors)?;
            expect_errno("next request", socket.ask(&request)?, no_device)
        },
    )
}
