//! The controller: modules requested for unknown names.

use crate::cases::cases;
use crate::outcome::{Failure, Outcome, expect, expect_eq, expect_errno};
use crate::port::ModuleRequests;
use crate::port::provider::Family;
use crate::scene::bus::{Answer, Bus};
use crate::scene::modules::while_requesting;
use crate::wire::attr::Attrs;
use crate::wire::genl::{self, FamilyInfo};
use crate::wire::message::{Message, NLM_F_ACK, NLM_F_DUMP};

cases! {
    unknown_name_requests_a_module [invasive] => "GENL-CTRL-015";
    other_requests_do_not_request_a_module(OTHERS) [invasive] => "GENL-CTRL-015";
    family_registered_by_its_module_is_returned [invasive] => "GENL-CTRL-016";
    family_without_a_module_is_unknown [invasive] => "GENL-CTRL-016";
    module_is_asked_for_by_its_alias => "GENL-CTRL-049";
}

fn by_name() -> Message {
    let attrs = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlc_loaded");
    genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs)
}

/// The answer to a request, and whether it requested a module; `meanwhile` is done before that is refused.
fn asked(
    bus: &Bus<'_>,
    requests: &dyn ModuleRequests,
    request: &Message,
    meanwhile: impl FnOnce() -> Outcome,
) -> Result<(Answer, bool), Failure> {
    let socket = bus.generic()?;
    let (answer, module) = while_requesting(requests, || socket.ask(request), meanwhile)?;
    Ok((answer?, module))
}

fn unknown_name_requests_a_module(bus: &Bus<'_>) -> Outcome {
    let requests = bus.module_requests()?;
    let (answer, module) = asked(bus, requests.as_ref(), &by_name(), || Ok(()))?;
    expect_eq("whether a module was requested", module, true)?;
    expect_errno("request", answer, bus.expected("errno")?)
}

type MakeRequest = fn() -> Message;

const OTHERS: &[(&str, MakeRequest)] = &[
    ("unknown_id", || {
        let attrs = Attrs::new().u16(genl::CTRL_ATTR_FAMILY_ID, genl::GENL_MAX_ID);
        genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs).with(NLM_F_ACK)
    }),
    ("dump", || by_name().with(NLM_F_DUMP)),
    ("policies", || {
        let attrs = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlc_loaded");
        genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETPOLICY, attrs).with(NLM_F_DUMP)
    }),
    ("known_name", || {
        let attrs = Attrs::new().string(genl::CTRL_ATTR_FAMILY_NAME, "nlctrl");
        genl::request(genl::GENL_ID_CTRL, genl::CTRL_CMD_GETFAMILY, attrs)
    }),
];

fn other_requests_do_not_request_a_module(bus: &Bus<'_>, request: &MakeRequest) -> Outcome {
    let requests = bus.module_requests()?;
    let (_, module) = asked(bus, requests.as_ref(), &request(), || Ok(()))?;
    expect_eq("whether a module was requested", module, false)
}

fn family_registered_by_its_module_is_returned(bus: &Bus<'_>) -> Outcome {
    let requests = bus.module_requests()?;
    let register = || bus.register(Family::named("nlc_loaded").version(5)).map(drop);
    let (answer, module) = asked(bus, requests.as_ref(), &by_name(), register)?;
    expect_eq("whether a module was requested", module, true)?;
    let info = FamilyInfo::read(answer.reply()?);
    expect_eq("name and version in the answer", (info.name.as_str(), info.version), ("nlc_loaded", 5))
}

/// Nobody supplies the module: whatever the target does to load it fails.
fn family_without_a_module_is_unknown(bus: &Bus<'_>) -> Outcome {
    let requests = bus.module_requests()?;
    requests.refuse()?;
    expect_errno("request", bus.generic()?.ask(&by_name())?, bus.expected("errno")?)
}

fn module_is_asked_for_by_its_alias(bus: &Bus<'_>) -> Outcome {
    let socket = bus.generic()?;
    let (answer, lines) = bus.trace("module:module_request", || socket.ask(&by_name()))?;
    expect_errno("request", answer?, bus.expected("errno")?)?;
    let alias = "module_request: net-pf-16-proto-16-family-nlc_loaded ";
    expect("events", lines.iter().any(|line| line.contains(alias)), alias, lines)
}
