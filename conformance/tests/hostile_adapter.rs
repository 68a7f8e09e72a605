//! An adapter that misbehaves loses its case, never the run.

use std::time::Duration;

use nlconform::adapters::json::Adapter;
use nlconform::cases;
use nlconform::event::{Report, Verdict};
use nlconform::port::Target;
use nlconform::run::run_isolated;
use nlconform::spec::Profile;

/// Time that nothing here needs, however slow the machine is.
const LONG: Duration = Duration::from_secs(300);

fn hello(version: u32) -> String {
    let identity = r#"{"role":"target","name":"x","version":"0","capabilities":{"route":null}}"#;
    format!(r#"read ask; echo '{{"seq":1,"ok":{{"version":{version},"identity":{identity}}}}}'; "#)
}

fn sh(script: String) -> Vec<String> {
    vec!["sh".into(), "-c".into(), script]
}

/// The verdict on a case if a shell replies to hello as it must, and runs `then` when asked for a socket.
fn report(then: &str) -> Report {
    let script = hello(1) + "read ask; " + then;
    let adapter = Adapter::new(sh(script), LONG).unwrap();
    let case = cases::find("netlink::sockets::options_describe_the_socket::raw").unwrap();
    run_isolated(case, &adapter, Profile::newest(), LONG)
}

fn reason_of_crash(then: &str) -> String {
    match report(then).verdict {
        Verdict::Crash { reason } => reason,
        other => panic!("no crash: {other:?}"),
    }
}

#[test]
fn greeting_that_cannot_be_shown_or_is_anothers() {
    let refusal = |identity: &str| {
        let greeting = format!(r#"{{"seq":1,"ok":{{"version":1,"identity":{identity}}}}}"#);
        Adapter::new(sh(format!("read ask; printf '%s\\n' '{greeting}'")), LONG).err().unwrap()
    };
    let escape = refusal(r#"{"role":"target","name":"\u001b[31m","version":"0","capabilities":{}}"#);
    assert!(escape.contains(r#""\u{1b}[31m" has control characters"#), "{escape}");
    let library = refusal(r#"{"role":"client","name":"x","version":"0","capabilities":{}}"#);
    assert!(library.contains("of a client library, not of a target"), "{library}");
}

#[test]
fn garbage() {
    assert!(reason_of_crash("echo nonsense; sleep 60").contains("nonsense"));
}

#[test]
fn an_answer_to_another_question() {
    assert!(reason_of_crash(r#"echo '{"seq":7,"ok":3}'; sleep 60"#).contains("answered call 7"));
}

#[test]
fn an_answer_of_the_wrong_form() {
    assert!(reason_of_crash(r#"echo '{"seq":2,"ok":"three"}'; sleep 60"#).contains("malformed answer"));
}

#[test]
fn silence() {
    let reason = reason_of_crash("sleep 60");
    assert_eq!(reason, "the adapter did not answer in time: nothing came within 5 s of socket");
}

#[test]
fn a_slow_start_is_not_a_late_answer() {
    let script = format!("sleep 6; {}", hello(1));
    assert_eq!(Adapter::new(sh(script), LONG).map(drop), Ok(()));
}

#[test]
fn one_that_never_says_hello_is_told_what_it_is_to_do() {
    let soon = Duration::from_millis(50);
    for silent in ["exec sleep 60", "cat > /dev/null"] {
        let error = Adapter::new(sh(silent.into()), soon).err().unwrap();
        assert!(
            error.starts_with("the adapter did not say hello within 0.05 s: it is to read the line {"),
            "{error}"
        );
        assert!(error.contains("docs/adapter.md") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn endless_output() {
    assert!(reason_of_crash("yes | tr -d '\\n'").contains("a line of more than"));
}

#[test]
fn sudden_exit() {
    assert!(reason_of_crash("exit 3").contains("exit status: 3"));
}

#[test]
fn an_answer_has_one_outcome_and_a_positive_errno() {
    for (outcome, why) in [
        (r#""errno":94,"failed":"x""#, "exactly one of"),
        (r#""ok":null,"errno":94"#, "exactly one of"),
        (r#""errno":-94"#, "a positive number"),
        (r#""errno":0"#, "a positive number"),
    ] {
        let reason = reason_of_crash(&format!(r#"echo '{{"seq":2,{outcome}}}'; sleep 60"#));
        assert!(reason.contains(why), "{outcome}: {reason}");
    }
}

#[test]
fn a_refusal_is_no_crash() {
    let verdict = report(r#"echo '{"seq":2,"errno":24}'; sleep 60"#).verdict;
    assert!(matches!(verdict, Verdict::Broken { .. } | Verdict::Fail(_)), "{verdict:?}");
}

#[test]
fn what_the_protocol_does_not_reach_is_absent_whatever_an_adapter_claims() {
    let said = r#"{"route":null,"processes":null,"tracing":"it has no tracepoints"}"#;
    let script = hello(1).replace(r#"{"route":null}"#, said);
    let adapter = Adapter::new(sh(script), LONG).unwrap();
    let lacks = |name| adapter.identity().lacks(name);
    assert_eq!(lacks("route"), None);
    assert_eq!(lacks("processes").unwrap(), "needs processes: the adapter protocol has no call for it");
    assert_eq!(lacks("tracing").unwrap(), "needs tracing: it has no tracepoints");
    assert_eq!(
        lacks("module-requests").unwrap(),
        "needs module-requests: the adapter protocol has no call for it"
    );
}

#[test]
fn an_adapter_of_another_version_is_refused() {
    for version in [0, 99] {
        let error = Adapter::new(sh(hello(version)), LONG).err().unwrap();
        assert!(error.contains(&format!("it speaks version {version}, this nlconform 1 to 1")), "{error}");
    }
    assert!(Adapter::new(vec!["/absent".into()], LONG).err().unwrap().contains("cannot start"));
}
