//! nlprobe.rs agrees with the C header.

use std::fs;
use std::process::Command;

use super::{CONSTANTS, IOCTLS, LAYOUTS};

const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/probe");

/// The values in `nlprobe.rs`, and a C program that prints those of the header, line by line.
fn lines_and_program() -> (Vec<String>, String) {
    let mut lines = Vec::new();
    let mut program =
        "#include <stddef.h>\n#include <stdio.h>\n#include \"nlprobe.h\"\nint main(void)\n{\n".to_string();
    let mut check = |what: String, value: i64, expression: String| {
        program += &format!("\tprintf(\"{what} %lld\\n\", (long long)({expression}));\n");
        lines.push(format!("{what} {value}"));
    };
    for (name, value) in CONSTANTS {
        check(name.to_string(), *value, name.to_string());
    }
    for (name, code) in IOCTLS {
        check(name.to_string(), i64::from(*code as u32), name.to_string());
    }
    for (name, size, fields) in LAYOUTS {
        check(format!("sizeof {name}"), *size as i64, format!("sizeof(struct {name})"));
        for (field, offset, size) in *fields {
            let field = field.trim_start_matches("r#");
            check(format!("{name}.{field}"), *offset as i64, format!("offsetof(struct {name}, {field})"));
            check(
                format!("sizeof {name}.{field}"),
                *size as i64,
                format!("sizeof(((struct {name} *)0)->{field})"),
            );
        }
    }
    (lines, program + "\treturn 0;\n}\n")
}

#[test]
fn numbers_and_layouts_are_the_headers() {
    let (lines, program) = lines_and_program();
    let dir = tempfile::tempdir().unwrap();
    let (source, binary) = (dir.path().join("print.c"), dir.path().join("print"));
    fs::write(&source, program).unwrap();
    let compiled =
        Command::new("cc").arg("-I").arg(PROBE).arg("-o").arg(&binary).arg(&source).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = Command::new(&binary).output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    let differ: Vec<_> =
        lines.iter().zip(printed.lines()).filter(|(ours, headers)| ours != headers).collect();
    assert!(differ.is_empty(), "(nlprobe.rs, nlprobe.h): {differ:#?}");
    assert_eq!(lines.len(), printed.lines().count());
}
