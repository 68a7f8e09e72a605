//! Callbacks that run a script: the counterpart of a provider's kernel code.

use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nlconform::port::provider::{Action, LogEntry, On};

use super::actions;
use super::credentials::acting;
use super::defect::Defect;
use super::dump;
use super::kernel::{Dumper, Kernel};
use super::message::{Buffer, ExtAck, refused};
use super::progress::Progress;
use super::run::Run;
use super::session::{Object, Reference, blank, user};
use super::setup::LATE;

/// `bind()` of a protocol.
pub fn bind(object: &Arc<Object>, kernel: &Kernel, protocol: i32, group: u32) -> i64 {
    membership(object, kernel, On::Bind, protocol, group)
}

/// `unbind()` of a protocol.
pub fn unbind(object: &Arc<Object>, kernel: &Kernel, protocol: i32, group: u32) {
    if !kernel.has(Defect::UnbindForgotten) {
        membership(object, kernel, On::Unbind, protocol, group);
    }
}

fn membership(object: &Arc<Object>, kernel: &Kernel, on: On, protocol: i32, group: u32) -> i64 {
    run(object, Run { subject: group, protocol: Some(protocol), ..Run::new(kernel, on) })
}

/// Runs the script of a callback and logs the call.
pub fn run(object: &Arc<Object>, mut run: Run<'_>) -> i64 {
    let entered_ns = object.session.now();
    if let Some(progress) = &mut run.progress {
        run.state = [progress.calls, progress.records];
    }
    let call = match &mut run.progress {
        Some(progress) if run.on == On::Dumpit => {
            progress.calls += 1;
            progress.calls
        }
        _ => object.count(run.on),
    };
    let returned = steps(object, call, &mut run);
    if run.kernel.setup.late {
        // What the callback sent can be received before the call is in the log.
        thread::sleep(LATE);
    }
    let request = run.request.or(run.progress.as_ref().map(|progress| &progress.request));
    object.session.add(LogEntry {
        on: run.on,
        handle: object.handle,
        subject: run.subject,
        portid: request.map_or(0, |request| request.portid),
        seq: request.map_or(0, |request| request.header.seq),
        call,
        returned,
        uid: user(request.map_or_else(acting, |request| request.who)),
        entered_ns,
        left_ns: object.session.now(),
        bytes: run.captured,
        ..blank()
    });
    returned
}

fn steps(object: &Arc<Object>, call: u32, run: &mut Run<'_>) -> i64 {
    for step in &object.script {
        let meant = step.on == run.on
            && step.cmd.is_none_or(|cmd| run.cmd == Some(cmd))
            && step.call.is_none_or(|nth| nth == call);
        if !meant {
            continue;
        }
        let ended = match &step.action {
            Action::StartDump => Some(start_dump(object, run)),
            action => actions::perform(object, action, run),
        };
        if let Some(returned) = ended {
            return returned;
        }
    }
    run.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len() as i64)
}

/// A dump that the input of a protocol starts.
struct ProtocolDump {
    object: Arc<Object>,
    protocol: Option<i32>,
}

impl Dumper for ProtocolDump {
    fn start(&mut self, kernel: &Arc<Kernel>, progress: &mut Progress, extack: &mut ExtAck) -> i64 {
        let mut run = Run { protocol: self.protocol, ..Run::new(kernel, On::Start) };
        (run.progress, run.extack) = (Some(progress), Some(extack));
        self::run(&self.object, run)
    }

    fn dumpit(
        &mut self,
        kernel: &Arc<Kernel>,
        progress: &mut Progress,
        buffer: &mut Buffer,
        extack: &mut ExtAck,
    ) -> i64 {
        let mut run = Run { protocol: self.protocol, ..Run::new(kernel, On::Dumpit) };
        (run.progress, run.extack, run.buffer) = (Some(progress), Some(extack), Some(buffer));
        self::run(&self.object, run)
    }

    fn done(&mut self, kernel: &Kernel, progress: &mut Progress) {
        let mut run = Run { protocol: self.protocol, ..Run::new(kernel, On::Done) };
        run.progress = Some(progress);
        self::run(&self.object, run);
    }
}

fn start_dump(object: &Arc<Object>, run: &mut Run<'_>) -> i64 {
    let (Some(kernel), Some(request)) = (run.shared, run.request) else { return refused(Errno::EINVAL) };
    let dumper = ProtocolDump { object: object.clone(), protocol: run.protocol };
    let mut extack = ExtAck::default();
    let extack = run.extack.as_deref_mut().unwrap_or(&mut extack);
    let module = Reference::new(&object.session);
    dump::start(kernel, request, Box::new(dumper), Some(module), extack)
}
