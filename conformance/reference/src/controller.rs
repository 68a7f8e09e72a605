//! The controller, `nlctrl`: the family that describes families.

use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nlconform::port::provider::{
    self, AttrKind, DONT_VALIDATE_DUMP, DONT_VALIDATE_STRICT, Op, OpKind, Policy, PolicyEntry,
};
use nlconform::wire::attr::Attrs;
use nlconform::wire::genl::{
    CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_HDRSIZE, CTRL_ATTR_MAXATTR, CTRL_ATTR_MCAST_GROUPS,
    CTRL_ATTR_OP, CTRL_ATTR_OP_POLICY, CTRL_ATTR_OPS, CTRL_ATTR_POLICY, CTRL_ATTR_VERSION,
    CTRL_CMD_GETFAMILY, CTRL_CMD_GETPOLICY, CTRL_CMD_NEWFAMILY, CTRL_NOTIFY, GENL_CMD_CAP_DO,
    GENL_CMD_CAP_DUMP, GENL_CMD_CAP_HASPOL,
};
use nlconform::wire::message::{Message, NLM_F_MULTI};

use super::advertise::Reached;
use super::attribute::Attributes;
use super::defect::Defect;
use super::dump::GOOD_SIZE;
use super::families::{CONTROLLER, Family, Rules};
use super::kernel::{Audience, Dumper, Kernel};
use super::message::{Buffer, ExtAck, Request, refused};
use super::progress::Progress;
use super::session::Reference;
use super::setup::Setup;

/// `CTRL_CMD_MAX` + 1: all existing commands are below resv_start_op.
const RESV_START_OP: u32 = 11;

/// Its registration.
pub fn family(setup: Setup) -> provider::Family {
    let id = PolicyEntry::new(CTRL_ATTR_FAMILY_ID, AttrKind::U16);
    let name = PolicyEntry::new(CTRL_ATTR_FAMILY_NAME, AttrKind::NulString).len(15);
    let op = PolicyEntry::new(CTRL_ATTR_OP, AttrKind::U32);
    let split = |cmd, flags, policy, maxattr| Op {
        kind: OpKind::Split,
        cmd,
        flags,
        doit: flags == GENL_CMD_CAP_DO,
        dumpit: flags == GENL_CMD_CAP_DUMP,
        policy: Some(policy),
        maxattr,
        ..Op::default()
    };
    let controller = provider::Family {
        version: 2,
        resv_start_op: RESV_START_OP,
        policies: vec![Policy::of([id.clone(), name.clone()]), Policy::of([id, name, op])],
        ..provider::Family::named(CONTROLLER)
    }
    .group("notify");
    let get = split(CTRL_CMD_GETFAMILY, GENL_CMD_CAP_DO, 0, 2);
    let list = split(CTRL_CMD_GETFAMILY, GENL_CMD_CAP_DUMP, 0, 2);
    let policies = split(CTRL_CMD_GETPOLICY, GENL_CMD_CAP_DUMP, 1, CTRL_ATTR_OP.into());
    // It had genl_ops once, of which a dump is exempt from validation altogether.
    if !setup.value::<bool>("GENL-CTRL-038", "dumping") {
        let validate = DONT_VALIDATE_STRICT | DONT_VALIDATE_DUMP;
        let whole = |op| Op { kind: OpKind::Full, flags: 0, ..op };
        return controller.op(Op { validate, dumpit: true, ..whole(get) }).op(whole(policies));
    }
    controller
        .op(Op { validate: DONT_VALIDATE_STRICT, ..get })
        .op(Op { validate: DONT_VALIDATE_DUMP, ..list })
        .op(policies)
}

/// Describes a family.
fn describe(kernel: &Kernel, controller: &Family, family: &Family, cmd: u8) -> Message {
    let mut attrs = identity(kernel, family)
        .u32(
            CTRL_ATTR_VERSION,
            if kernel.has(Defect::VersionTruncated) {
                family.spec.version & 0xff
            } else {
                family.spec.version
            },
        )
        .u32(CTRL_ATTR_HDRSIZE, family.spec.hdrsize)
        .u32(CTRL_ATTR_MAXATTR, family.spec.maxattr);
    let commands = family.commands();
    if !commands.is_empty() {
        let reported = (1..).zip(&commands).fold(Attrs::new(), |list, (number, cmd)| {
            let flags = if kernel.has(Defect::CommandFlagsUnreported) { 0 } else { flags(family, *cmd) };
            inner(list, number, Attrs::new().u32(1, u32::from(*cmd)).u32(2, flags))
        });
        attrs = inner(attrs, CTRL_ATTR_OPS, reported);
    }
    if !family.spec.groups.is_empty() && !kernel.has(Defect::GroupsUnreported) {
        let reported = (0..).zip(&family.spec.groups).fold(Attrs::new(), |list, (index, group)| {
            inner(list, index as u16 + 1, group_attrs(family, index, &group.name))
        });
        attrs = inner(attrs, CTRL_ATTR_MCAST_GROUPS, reported);
    }
    controller.message(cmd, 0).attrs(attrs)
}

/// A nest as the controller writes it, without NLA_F_NESTED.
fn inner(attrs: Attrs, kind: u16, nest: Attrs) -> Attrs {
    attrs.put(kind, nest.as_bytes())
}

fn identity(kernel: &Kernel, family: &Family) -> Attrs {
    let (name, id) = (&family.spec.name, family.id);
    match kernel.has(Defect::IdReportedFirst) {
        false => Attrs::new().string(CTRL_ATTR_FAMILY_NAME, name).u16(CTRL_ATTR_FAMILY_ID, id),
        true => Attrs::new().u16(CTRL_ATTR_FAMILY_ID, id).string(CTRL_ATTR_FAMILY_NAME, name),
    }
}

fn group_attrs(family: &Family, index: u32, name: &str) -> Attrs {
    Attrs::new().u32(2, family.first_group + index).string(1, name)
}

fn flags(family: &Family, cmd: u8) -> u32 {
    let commands = [GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP].map(|ask| (ask, family.command(cmd, ask)));
    let mut flags = 0;
    for (ask, command) in commands {
        let Some(command) = command else { continue };
        flags |= command.op.flags | ask;
        if matches!(family.listed_rules(cmd, ask), Some(Rules::Policy(..) | Rules::RejectAll)) {
            flags |= GENL_CMD_CAP_HASPOL;
        }
    }
    flags.into()
}

/// Announces a family (or, with an index, one of its groups) in group `notify`.
pub fn announce(kernel: &Kernel, family: &Family, cmd: u8, group: Option<u32>) {
    let Some(controller) = kernel.state().families.by_name(CONTROLLER).cloned() else { return };
    let audience = Audience {
        protocol: libc::NETLINK_GENERIC,
        group: CTRL_NOTIFY,
        except: 0,
        sender: None,
        filter: None,
        held: false,
    };
    // Nobody is told what nobody hears, which is so for most of a bus's families.
    if kernel.has(Defect::NothingAnnounced) || !kernel.has_audience(&audience) {
        return;
    }
    let message = match group {
        None => describe(kernel, &controller, family, cmd),
        Some(index) => {
            let name = family.spec.groups.get(index as usize).map_or("", |group| &group.name);
            let list = inner(Attrs::new(), 1, group_attrs(family, index, name));
            controller.message(cmd, 0).attrs(inner(identity(kernel, family), CTRL_ATTR_MCAST_GROUPS, list))
        }
    };
    let seq = u32::from(kernel.has(Defect::AnnouncementsNumbered));
    let message = message.seq(seq);
    if message.len() as usize <= GOOD_SIZE {
        kernel.multicast(&audience, message.encode());
    }
}

/// `doit` of `CTRL_CMD_GETFAMILY`.
pub fn get(kernel: &Kernel, request: &Request, attributes: &Attributes) -> i64 {
    let (asked, found) = wanted(kernel, request, attributes, true);
    let controller = kernel.state().families.by_name(CONTROLLER).cloned();
    let (Some(family), Some(controller)) = (found, controller) else {
        return refused(if asked { Errno::ENOENT } else { Errno::EINVAL });
    };
    let seq = if kernel.has(Defect::ReplyWithoutSequence) { 0 } else { request.header.seq };
    let answer = describe(kernel, &controller, &family, CTRL_CMD_NEWFAMILY).seq(seq).portid(request.portid);
    if answer.len() as usize > GOOD_SIZE {
        return refused(Errno::EMSGSIZE);
    }
    kernel.unicast(libc::NETLINK_GENERIC, request.portid, answer.encode())
}

/// The requested family, if any. The name counts, otherwise the ID.
fn wanted(
    kernel: &Kernel,
    request: &Request,
    attributes: &Attributes,
    name_first: bool,
) -> (bool, Option<Arc<Family>>) {
    let state = kernel.state();
    let data = |kind| attributes.get(kind).map(|slot| slot.data(&request.bytes));
    let by_id = data(CTRL_ATTR_FAMILY_ID).map(|id| {
        let id = id.first_chunk().map_or(0, |id| u16::from_ne_bytes(*id));
        state.families.by_id(id).cloned()
    });
    let by_name = data(CTRL_ATTR_FAMILY_NAME).map(|name| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]);
        state.families.by_name(&name).cloned()
    });
    let name_first = name_first != kernel.has(Defect::WrongKeyCounts);
    let found = if name_first { by_name.or(by_id) } else { by_id.or(by_name) };
    (found.is_some(), found.flatten())
}

/// The dump of `CTRL_CMD_GETFAMILY`.
#[derive(Default)]
pub struct List {
    next: u16,
}

impl Dumper for List {
    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        _extack: &mut ExtAck,
    ) -> i64 {
        let families: Vec<_> = kernel.state().families.all().cloned().collect();
        let Some(controller) = families.iter().find(|family| family.spec.name == CONTROLLER) else {
            return 0;
        };
        let multi = if kernel.has(Defect::RecordsWithoutMulti) { 0 } else { NLM_F_MULTI };
        // Formerly it was the number of families that are already listed, not the next ID, that was kept, and
        // the end of the list was found by the call after the last family.
        let counted = kernel.setup.value::<bool>("NL-DMP-028", "families");
        let next = self.next;
        let left = |(index, family): &(u16, &Arc<Family>)| if counted { *index } else { family.id } >= next;
        for (index, family) in (0..).zip(&families).filter(left) {
            let message = describe(kernel, controller, family, CTRL_CMD_NEWFAMILY)
                .with(multi)
                .seq(progress.request.header.seq)
                .portid(progress.request.portid);
            if !buffer.put(&message) {
                let told = kernel.setup.value::<Result<(), Errno>>("GENL-CTRL-014", "result").is_err();
                return if told { refused(Errno::EMSGSIZE) } else { buffer.bytes.len() as i64 };
            }
            self.next = if counted { index } else { family.id } + 1;
        }
        if counted { buffer.bytes.len() as i64 } else { 0 }
    }
}

/// The dump of `CTRL_CMD_GETPOLICY`: its messages, built when it starts, and how many were sent.
#[derive(Default)]
pub struct Policies {
    attributes: Attributes,
    messages: Vec<Attrs>,
    sent: usize,
    /// Holds the module of the family.
    _module: Option<Reference>,
}

impl Policies {
    /// A dump that was requested with these attributes.
    pub fn new(attributes: Attributes) -> Policies {
        Policies { attributes, ..Policies::default() }
    }
}

impl Dumper for Policies {
    fn start(&mut self, kernel: &Arc<Kernel>, progress: &mut Progress, extack: &mut ExtAck) -> i64 {
        let (asked, family) = wanted(kernel, &progress.request, &self.attributes, false);
        let Some(family) = family else {
            return refused(if asked { Errno::ENOENT } else { Errno::EINVAL });
        };
        let only = self.attributes.get(CTRL_ATTR_OP);
        let wanted = only.and_then(|slot| slot.data(&progress.request.bytes).first_chunk().copied());
        let wanted = wanted.map(u32::from_ne_bytes);
        let commands: Vec<u8> = match wanted {
            None => family.commands(),
            Some(cmd) => family.commands().into_iter().filter(|known| u32::from(*known) == cmd).collect(),
        };
        if wanted.is_some() && commands.is_empty() {
            extack.bad_attr = only.map(|slot| slot.at);
            return refused(Errno::ENOENT);
        }
        // Formerly a policy was reported even if only an exempt dump has it, and that dump was left out.
        let exempt = |cmd, ask| {
            family.lists_exempt()
                && family.command(cmd, ask).is_some_and(|command| command.rules == Rules::Unparsed)
        };
        let mut reached = Reached::new(&family.spec.policies, kernel.setup);
        let rules_of = |cmd, ask| match wanted {
            Some(_) if !family.lists_exempt() => family.command(cmd, ask).map(|command| command.rules),
            _ => family.listed_rules(cmd, ask),
        };
        let rules = |cmd, ask| match rules_of(cmd, ask) {
            Some(Rules::Policy(_, 0)) => None,
            Some(Rules::Policy(policy, maxattr)) => Some((Some(policy), maxattr)),
            Some(Rules::RejectAll) => Some((None, 0)),
            _ => None,
        };
        for cmd in &commands {
            for (policy, maxattr) in
                [GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP].into_iter().filter_map(|ask| rules(*cmd, ask))
            {
                reached.add(policy, maxattr);
            }
        }
        if reached.is_empty() {
            return refused(Errno::ENODATA);
        }
        let of_family = || Attrs::new().u16(CTRL_ATTR_FAMILY_ID, family.id);
        for cmd in commands {
            let index = |ask| {
                rules(cmd, ask)
                    .filter(|_| !exempt(cmd, ask))
                    .and_then(|(policy, maxattr)| reached.position(policy, maxattr))
            };
            let reported = [(1, index(GENL_CMD_CAP_DO)), (2, index(GENL_CMD_CAP_DUMP))];
            let reported = reported.into_iter().filter_map(|(kind, index)| Some((kind, index?)));
            let reported = reported.fold(Attrs::new(), |attrs, (kind, index)| attrs.u32(kind, index));
            if !reported.as_bytes().is_empty() {
                let command = Attrs::new().nest(cmd.into(), reported);
                self.messages.push(of_family().nest(CTRL_ATTR_OP_POLICY, command));
            }
        }
        for (index, kind, described) in reached.attributes() {
            let attribute = Attrs::new().nest(index, Attrs::new().nest(kind, described));
            self.messages.push(of_family().nest(CTRL_ATTR_POLICY, attribute));
        }
        if kernel.has(Defect::PolicyOfLastUnreported) {
            self.messages.pop();
        }
        if kernel.setup.value::<u32>("GENL-CTRL-031", "references") == 0 {
            return 0;
        }
        self._module = family.object.as_ref().map(|object| Reference::new(&object.session));
        0
    }

    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        _extack: &mut ExtAck,
    ) -> i64 {
        let Some(controller) = kernel.state().families.by_name(CONTROLLER).cloned() else { return 0 };
        let multi = if kernel.has(Defect::RecordsWithoutMulti) { 0 } else { NLM_F_MULTI };
        while let Some(attrs) = self.messages.get(self.sent) {
            let message = controller
                .message(CTRL_CMD_GETPOLICY, multi)
                .attrs(attrs.clone())
                .seq(progress.request.header.seq)
                .portid(progress.request.portid);
            if !buffer.put(&message) {
                break;
            }
            self.sent += 1;
        }
        buffer.bytes.len() as i64
    }
}
