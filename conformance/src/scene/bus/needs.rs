//! What a case needs of its target, known from what it uses.

use nix::libc;

use super::Bus;
use super::socket::ROOM;
use crate::outcome::Failure;
use crate::port::Who;
use crate::port::capability::Capability;
use crate::port::process::{Deed, Kind};
use crate::port::provider::{Action, AttrKind, Call, ConnectorSend, Family, KernelSend, Net, OpKind, Verb};
use crate::scene::requests::refused;

impl Bus<'_> {
    /// Whether the target has this capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.target.identity().lacks(capability).is_none()
    }

    /// Goes on only where the target has this capability. The scene asks for what it sees a case use; a case
    /// asks itself for what nobody sees, such as the right to do what it expects to succeed.
    ///
    /// # Errors
    /// `Skip` where the target lacks it.
    pub fn need(&self, capability: Capability) -> Result<(), Failure> {
        self.target.identity().lacks(capability).map_or(Ok(()), |reason| Err(Failure::Skip(reason)))
    }

    fn need_all(&self, capabilities: impl IntoIterator<Item = Capability>) -> Result<(), Failure> {
        capabilities.into_iter().try_for_each(|capability| self.need(capability))
    }

    /// Goes on only where a request has been handled when its send returns (NL-SEND-009): else nobody knows
    /// which of two sockets' calls, or of two requests, comes first.
    ///
    /// # Errors
    /// `Skip` where it is handled later, be it only now and then.
    pub fn need_prompt_answers(&self) -> Result<(), Failure> {
        /// Requests, each of which must be answered at once.
        const REQUESTS: u32 = 32;
        let socket = self.asking()?;
        for seq in 0..REQUESTS {
            socket.send(&refused(socket.protocol(), seq))?;
            if socket.receive_now(ROOM, 0).is_err() {
                let reason =
                    "the target answers after send() has returned, so that nobody knows when (NL-SEND-009)";
                return Err(Failure::Skip(reason.into()));
            }
        }
        Ok(())
    }

    /// What a socket of this protocol needs. A protocol of the case's own needs nothing more than its
    /// registration did.
    pub(in crate::scene) fn need_protocol(&self, protocol: i32) -> Result<(), Failure> {
        self.need_all(match protocol {
            libc::NETLINK_ROUTE => Some(Capability::Route),
            libc::NETLINK_USERSOCK => Some(Capability::Usersock),
            libc::NETLINK_SOCK_DIAG => Some(Capability::SockDiag),
            libc::NETLINK_CONNECTOR => Some(Capability::Connector),
            libc::NETLINK_GENERIC => Some(Capability::Genetlink),
            _ => None,
        })
    }

    /// What acting as somebody else needs. Whether it may be done at all the target says when it is tried.
    pub(super) fn need_user(&self, who: Who) -> Result<(), Failure> {
        self.need_all(match who {
            Who::Process => vec![Capability::Processes],
            Who::Nobody | Who::NetworkAdministrator => vec![Capability::NetAdmin],
            Who::UserNamespaceRoot => vec![Capability::UserNamespaces],
            Who::OwnNamespacesRoot => vec![Capability::UserNamespaces, Capability::NetNamespaces],
            Who::OtherNet => vec![Capability::NetNamespaces, Capability::NetAdmin],
            Who::OtherPid => vec![Capability::PidNamespaces, Capability::NetAdmin],
        })
    }

    /// What a process that does these deeds needs.
    pub(super) fn need_deeds(&self, deeds: &[Deed]) -> Result<(), Failure> {
        self.need(Capability::Processes)?;
        deeds.iter().try_for_each(|deed| match deed {
            Deed::SetUsers(..) | Deed::SetFsUser(_) | Deed::SetGroups(..) | Deed::SetFsGroup(_) => {
                self.need(Capability::NetAdmin)
            }
            Deed::SetSupplementary(_) => self.need(Capability::NetAdmin),
            Deed::EnterUserNamespace => self.need(Capability::UserNamespaces),
            Deed::EnterNetNamespace => self.need_all([Capability::NetNamespaces, Capability::NetAdmin]),
            Deed::Failing(_, deed) => {
                self.need(Capability::FailNth)?;
                self.need_deeds(std::slice::from_ref(deed.as_ref()))
            }
            Deed::Make(Kind::InPidNamespace, deeds) => {
                self.need_all([Capability::PidNamespaces, Capability::NetAdmin])?;
                self.need_deeds(deeds)
            }
            Deed::Make(_, deeds) => self.need_deeds(deeds),
            _ => Ok(()),
        })
    }

    /// What a file of the target needs.
    pub(super) fn need_file(&self, path: &str) -> Result<(), Failure> {
        self.need_all(match path {
            "/proc/net/netlink" => Some(Capability::ProcNetlink),
            "/proc/net/connector" => Some(Capability::ProcConnector),
            _ => None,
        })
    }

    /// What a family needs beside the probe.
    pub(super) fn need_family(&self, family: &Family) -> Result<(), Failure> {
        let mut kinds = family.ops.iter().map(|op| op.kind).chain(family.missing_array);
        let split = kinds.any(|kind| kind == OpKind::Split).then_some(Capability::SplitOps);
        let elsewhere = (!family.netnsok).then_some(Capability::NetNamespaces);
        let bind = family.bind.then_some(Capability::FamilyBind);
        let mut entries = family.policies.iter().flat_map(|policy| &policy.entries);
        let variable = |kind| matches!(kind, AttrKind::Uint | AttrKind::Sint);
        let uint = entries.any(|entry| variable(entry.kind)).then_some(Capability::Uint);
        let actions = family.script.iter().filter_map(|step| match step.action {
            Action::ErrMsgFmt(_) => Some(Capability::ErrMsgFmt),
            Action::MissAttr(..) => Some(Capability::MissAttr),
            Action::Helper(_) => Some(Capability::NlattrHelpers),
            _ => None,
        });
        let helpers = family.script.iter().filter_map(|step| match &step.action {
            Action::Helper(call) if call.helper.is_of_variable_size() => Some(Capability::Uint),
            _ => None,
        });
        self.need_all([split, bind, uint, elsewhere].into_iter().flatten().chain(actions).chain(helpers))
    }

    /// What a way of calling kernel code needs.
    pub(super) fn need_call(&self, how: &Call) -> Result<(), Failure> {
        let failing = (how.fail_nth != 0).then_some(Capability::FailNth);
        let elsewhere = (how.net != Net::Own).then_some(Capability::NetNamespaces);
        self.need_all(failing.into_iter().chain(elsewhere))
    }

    /// What a send of a family needs.
    pub(super) fn need_send(&self, send: &KernelSend) -> Result<(), Failure> {
        self.need_all(match send.verb {
            Verb::MulticastFiltered(_) => Some(Capability::FilteredMulticast),
            Verb::MulticastInitial | Verb::MulticastAll => Some(Capability::NetNamespaces),
            _ => None,
        })
    }

    /// What a send of the connector needs.
    pub(super) fn need_connector_send(&self, send: &ConnectorSend) -> Result<(), Failure> {
        self.need_all(send.skip.map(|_| Capability::ConnectorFilter))
    }
}
