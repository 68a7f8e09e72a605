//! Requests to families (`genl_rcv_msg()`), and families that come and go.

use std::sync::{Arc, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nlconform::port::provider::{self, DONT_VALIDATE_DUMP_STRICT, DONT_VALIDATE_STRICT, On, OpKind};
use nlconform::spec::Version;
use nlconform::wire::attr::NLA_F_NESTED;
use nlconform::wire::genl::{
    CTRL_CMD_GETFAMILY, CTRL_CMD_NEWFAMILY, CTRL_CMD_NEWMCAST_GRP, GENL_ADMIN_PERM, GENL_CMD_CAP_DO,
    GENL_CMD_CAP_DUMP, GENL_HDRLEN, GENL_UNS_ADMIN_PERM,
};
use nlconform::wire::message::{self, NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST};
use nlconform::wire::{align, u16_at};

use super::attribute::Attributes;
use super::controller::{self, List, Policies};
use super::credentials::Capability;
use super::defect::Defect;
use super::dump;
use super::families::{Command, Family, Rules};
use super::kernel::{Dumper, Kernel};
use super::message::{Buffer, ExtAck, Request, refused};
use super::progress::Progress;
use super::run::Run;
use super::script;
use super::session::{Object, Reference};
use super::validate::Validator;

/// One request.
pub fn receive(kernel: &Arc<Kernel>, request: &Request, extack: &mut ExtAck) -> i64 {
    // Registrations wait until no request is handled.
    let _shared = match kernel.has(Defect::RegistrationDoesNotWait) {
        true => None,
        false => Some(kernel.registry.read().unwrap_or_else(PoisonError::into_inner)),
    };
    let Some(family) = kernel.state().families.by_id(request.header.kind).cloned() else {
        return refused(Errno::ENOENT);
    };
    match ask(kernel, &family, request, extack) {
        Ok(status) => status,
        Err(errno) => refused(errno),
    }
}

fn ask(
    kernel: &Arc<Kernel>,
    family: &Arc<Family>,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<i64, Errno> {
    let cmd = match request.payload() {
        short
            if short.len() < GENL_HDRLEN + family.hdrsize() && !kernel.has(Defect::ShortHeadersAccepted) =>
        {
            return Err(Errno::EINVAL);
        }
        payload => payload.first().copied().unwrap_or(0),
    };
    check_headers(kernel, family, cmd, request, extack)?;
    let both = request.header.flags & NLM_F_DUMP == NLM_F_DUMP;
    let dump = both || (kernel.has(Defect::OneBitIsDump) && request.header.flags & NLM_F_DUMP != 0);
    let (ask, either) =
        (if dump { GENL_CMD_CAP_DUMP } else { GENL_CMD_CAP_DO }, GENL_CMD_CAP_DO | GENL_CMD_CAP_DUMP);
    // Whether a command can be dumped was asked after the sender's privileges.
    let late = kernel.setup.value::<Errno>("GENL-DSP-009", "errno") == Errno::EPERM;
    let command = family.command(cmd, if late { either } else { ask }).ok_or(Errno::EOPNOTSUPP)?;
    let privileged = command.op.flags & (GENL_ADMIN_PERM | GENL_UNS_ADMIN_PERM) != 0;
    if privileged && !request.allows(Capability::NetAdmin) && !kernel.has(Defect::PrivilegesUnchecked) {
        return Err(Errno::EPERM);
    }
    let command = family.command(cmd, ask).ok_or(Errno::EOPNOTSUPP)?;
    match dump {
        true => start_dump(kernel, family, command, request, extack),
        false => carry_out(kernel, family, command, request, extack),
    }
}

/// Commands from resv_start_op on refuse flags and bits that have no meaning.
fn check_headers(
    kernel: &Kernel,
    family: &Family,
    cmd: u8,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<(), Errno> {
    let lax = kernel.setup.value::<Result<(), Errno>>("GENL-DSP-004", "result").is_ok()
        || kernel.has(Defect::ReservedIgnored);
    let strict = kernel.has(Defect::ReservedAlwaysChecked);
    if (u32::from(cmd) < family.spec.resv_start_op && !strict) || lax {
        return Ok(());
    }
    let reserved = request.payload().get(2..4).is_some_and(|reserved| reserved != [0, 0]);
    if reserved {
        extack.text = Some("genlmsghdr.reserved field is not 0".into());
        return Err(Errno::EINVAL);
    }
    let flags = request.header.flags;
    let flags = if flags & NLM_F_DUMP == NLM_F_DUMP { flags & !NLM_F_DUMP } else { flags };
    if flags & !(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO) != 0 {
        extack.text = Some("ambiguous or reserved bits set in nlmsg_flags".into());
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The attributes of a request, by the rules of its command; `None` if they are not parsed.
fn parse(
    kernel: &Kernel,
    family: &Family,
    command: Command<'_>,
    liberal: u8,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<Option<Attributes>, Errno> {
    let (policy, maxattr) = match command.rules {
        Rules::Unparsed => return Ok(None),
        Rules::RejectAll => (None, 0),
        Rules::Policy(policy, maxattr) => (Some(policy), maxattr),
        Rules::Types(maxattr) => (None, maxattr),
    };
    let own = match kernel.has(Defect::OwnHeaderUnaligned) {
        true => family.hdrsize(),
        false => align(family.hdrsize()),
    };
    let validator = Validator {
        request: &request.bytes,
        policies: &family.spec.policies,
        strict: match kernel.setup.defect {
            Some(Defect::AlwaysStrict) => true,
            Some(Defect::AlwaysLiberal) => false,
            _ => command.op.validate & liberal == 0,
        },
        setup: kernel.setup,
    };
    let from = (message::NLMSG_HDRLEN + GENL_HDRLEN + own).min(request.bytes.len());
    let parsed = validator.parse(from, policy, maxattr, extack);
    // What rejects all was a policy for type 1 once.
    let policy_for_1 = !kernel.setup.since(Version(7, 2));
    if parsed.is_err() && command.rules == Rules::RejectAll && policy_for_1 {
        explain_policy_for_1(request, extack);
    }
    let attributes = match parsed {
        Err(_) if kernel.has(Defect::AttributesUnvalidated) => Attributes::default(),
        other => other?,
    };
    let given = command.rules != Rules::RejectAll || policy_for_1;
    Ok(given.then_some(attributes))
}

/// What is said of an attribute of type 1 then (GENL-ATT-025).
fn explain_policy_for_1(request: &Request, extack: &mut ExtAck) {
    let raw = extack.bad_attr.and_then(|at| u16_at(&request.bytes, at + 2));
    match raw {
        Some(1) => extack.text = Some("Attribute failed policy validation".into()),
        Some(raw) if raw == 1 | NLA_F_NESTED => extack.text = Some("NLA_F_NESTED not expected".into()),
        _ => {}
    }
}

/// Waits until no other callback of a family without parallel_ops runs, if this is one, and keeps others from running.
fn serial<'k>(kernel: &'k Kernel, family: &Family) -> Option<MutexGuard<'k, ()>> {
    let alone = !family.spec.parallel_ops || kernel.has(Defect::ParallelIsSerial);
    let alone = alone && !kernel.has(Defect::SerialIsParallel);
    alone.then(|| kernel.serial.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Calls a command's `doit`, one at a time for families without parallel_ops.
fn carry_out(
    kernel: &Arc<Kernel>,
    family: &Arc<Family>,
    command: Command<'_>,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<i64, Errno> {
    let _serial = serial(kernel, family);
    let attributes = parse(kernel, family, command, DONT_VALIDATE_STRICT, request, extack)?;
    let Some(object) = &family.object else {
        return Ok(controller::get(kernel, request, &attributes.unwrap_or_default()));
    };
    let mut call = |on| {
        let run = Run::of_request(kernel, on, request);
        script::run(
            object,
            Run {
                cmd: Some(command.op.cmd),
                subject: command.op.cmd.into(),
                family: Some(family),
                attributes: attributes.as_ref(),
                extack: Some(&mut *extack),
                ..run
            },
        )
    };
    let framed = match command.op.kind {
        OpKind::Split => command.op.pre_post,
        _ => family.spec.pre_post,
    };
    if framed {
        let refusal = call(On::PreDoit);
        if refusal != 0 && !kernel.has(Defect::PreDoitIgnored) {
            return Ok(refusal);
        }
    }
    let status = call(On::Doit);
    if framed && !kernel.has(Defect::PostDoitForgotten) {
        call(On::PostDoit);
    }
    Ok(status)
}

fn start_dump(
    kernel: &Arc<Kernel>,
    family: &Arc<Family>,
    command: Command<'_>,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<i64, Errno> {
    let Some(object) = &family.object else {
        let dumper: Box<dyn Dumper> = match command.op.cmd {
            CTRL_CMD_GETFAMILY => Box::new(List::default()),
            _ => Box::new(Policies::default()),
        };
        let dumper = ControllerDump { family: family.clone(), cmd: command.op.cmd, dumper };
        return Ok(dump::start(kernel, request, Box::new(dumper), None, extack));
    };
    let dumper = FamilyDump {
        family: family.clone(),
        object: object.clone(),
        cmd: command.op.cmd,
        attributes: None,
        wants: (command.op.start, command.op.done),
    };
    let module = Reference::new(&object.session);
    Ok(dump::start(kernel, request, Box::new(dumper), Some(module), extack))
}

/// The attributes of a dump's request, which are parsed once it is known that no other dump runs.
fn parse_for_dump(
    kernel: &Kernel,
    family: &Family,
    cmd: u8,
    request: &Request,
    extack: &mut ExtAck,
) -> Result<Option<Attributes>, Errno> {
    let command = family.command(cmd, GENL_CMD_CAP_DUMP).ok_or(Errno::EOPNOTSUPP)?;
    parse(kernel, family, command, DONT_VALIDATE_DUMP_STRICT, request, extack)
}

/// The extended acknowledgement that `start` fills: formerly it had none of the request's (NL-DMP-018).
fn carried<'e>(kernel: &Kernel, extack: &'e mut ExtAck, lost: &'e mut ExtAck) -> &'e mut ExtAck {
    if kernel.setup.value("NL-DMP-018", "carried") { extack } else { lost }
}

/// A dump of the controller's.
struct ControllerDump {
    family: Arc<Family>,
    cmd: u8,
    dumper: Box<dyn Dumper>,
}

impl Dumper for ControllerDump {
    fn start(&mut self, kernel: &Arc<Kernel>, progress: &mut Progress, extack: &mut ExtAck) -> i64 {
        let request = progress.request.clone();
        match parse_for_dump(kernel, &self.family, self.cmd, &request, extack) {
            Ok(attributes) if self.cmd != CTRL_CMD_GETFAMILY => {
                self.dumper = Box::new(Policies::new(attributes.unwrap_or_default()));
            }
            Ok(_) => {}
            Err(errno) => return refused(errno),
        }
        self.dumper.start(kernel, progress, carried(kernel, extack, &mut ExtAck::default()))
    }

    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        extack: &mut ExtAck,
    ) -> i64 {
        self.dumper.dumpit(kernel, progress, buffer, extack)
    }

    fn done(&mut self, kernel: &Kernel, progress: &mut Progress) {
        self.dumper.done(kernel, progress);
    }
}

/// A dump of a family's command. It continues after the family is unregistered.
struct FamilyDump {
    family: Arc<Family>,
    object: Arc<Object>,
    cmd: u8,
    attributes: Option<Attributes>,
    /// The command has a `start`, a `done`.
    wants: (bool, bool),
}

impl FamilyDump {
    fn call(
        &self,
        kernel: &Kernel,
        on: On,
        progress: &mut Progress,
        buffer: Option<&mut Buffer>,
        extack: Option<&mut ExtAck>,
    ) -> i64 {
        let _serial = serial(kernel, &self.family);
        script::run(
            &self.object,
            Run {
                cmd: Some(self.cmd),
                subject: self.cmd.into(),
                family: Some(&self.family),
                attributes: self.attributes.as_ref(),
                progress: Some(progress),
                buffer,
                extack,
                ..Run::new(kernel, on)
            },
        )
    }
}

impl Dumper for FamilyDump {
    fn start(&mut self, kernel: &Arc<Kernel>, progress: &mut Progress, extack: &mut ExtAck) -> i64 {
        let request = progress.request.clone();
        match parse_for_dump(kernel, &self.family, self.cmd, &request, extack) {
            Ok(attributes) => self.attributes = attributes,
            Err(errno) => return refused(errno),
        }
        match self.wants.0 {
            true => {
                let mut lost = ExtAck::default();
                self.call(kernel, On::Start, progress, None, Some(carried(kernel, extack, &mut lost)))
            }
            false => 0,
        }
    }

    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        extack: &mut ExtAck,
    ) -> i64 {
        self.call(kernel, On::Dumpit, progress, Some(buffer), Some(extack))
    }

    fn done(&mut self, kernel: &Kernel, progress: &mut Progress) {
        if self.wants.1 {
            self.call(kernel, On::Done, progress, None, None);
        }
    }
}

/// Registers a family and announces it.
pub fn register(
    kernel: &Kernel,
    spec: provider::Family,
    object: Option<Arc<Object>>,
) -> Result<Arc<Family>, Errno> {
    if !spec.groups.is_empty() {
        kernel.wait_for_undoing();
    }
    let family = {
        let _alone = match kernel.has(Defect::RegistrationDoesNotWait) {
            true => None,
            false => Some(kernel.registry.write().unwrap_or_else(PoisonError::into_inner)),
        };
        let mut state = kernel.state();
        let family = state.families.register(spec, object)?;
        let room = state.families.room();
        if let Some(generic) = state.protocols.get_mut(&libc::NETLINK_GENERIC) {
            generic.groups = room;
        }
        family
    };
    controller::announce(kernel, &family, CTRL_CMD_NEWFAMILY, None);
    for index in 0..family.spec.groups.len() as u32 {
        controller::announce(kernel, &family, CTRL_CMD_NEWMCAST_GRP, Some(index));
    }
    Ok(family)
}

/// Unregisters a family, which ends the memberships in its groups, and announces that.
pub fn unregister(kernel: &Kernel, family: &Family) -> Result<(), Errno> {
    use nlconform::wire::genl::{CTRL_CMD_DELFAMILY, CTRL_CMD_DELMCAST_GRP};
    let groups = family.spec.groups.len() as u32;
    {
        let _alone = match kernel.has(Defect::RegistrationDoesNotWait) {
            true => None,
            false => Some(kernel.registry.write().unwrap_or_else(PoisonError::into_inner)),
        };
        if kernel.has(Defect::UnregistrationUnbinds) {
            for index in 0..groups {
                super::options::tell_family(kernel, libc::NETLINK_GENERIC, family.first_group + index, false);
            }
        }
        let mut state = kernel.state();
        state.families.unregister(family)?;
        if !kernel.has(Defect::MembershipsOutlive) {
            let members = state.sockets.values_mut().filter(|sock| sock.protocol == libc::NETLINK_GENERIC);
            for sock in members {
                let first = family.first_group as usize - 1;
                sock.groups.iter_mut().skip(first).take(groups as usize).for_each(|member| *member = false);
            }
        }
    }
    for index in 0..groups {
        controller::announce(kernel, family, CTRL_CMD_DELMCAST_GRP, Some(index));
    }
    controller::announce(kernel, family, CTRL_CMD_DELFAMILY, None);
    Ok(())
}
