//! Mutants of a C file: each is one small change of an expression or a statement. All of them are put into the
//! file at once, and the kernel's command line says which one is alive.

use tree_sitter::{Node, Parser, Tree};

/// A change of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// Number that switches it on.
    pub number: usize,
    /// The file, below the kernel's tree.
    pub file: String,
    /// Line of the original source, counted from 1.
    pub line: usize,
    /// Its last line.
    pub last: usize,
    /// The function around it.
    pub function: String,
    /// The first and the last line of that function.
    pub around: (usize, usize),
    /// What stands there, on one line.
    pub was: String,
    /// What stands there instead; empty when the statement is left out.
    pub becomes: String,
}

impl Mutant {
    /// What the mutant is, whatever number it has: `file: function: was -> becomes`.
    pub fn name(&self) -> String {
        let becomes = if self.becomes.is_empty() { "(nothing)" } else { &self.becomes };
        format!("{}: {}: {} -> {becomes}", self.file, self.function, self.was)
    }

    /// The same, with the place where it is.
    pub fn at_place(&self) -> String {
        format!("{}:{}: {}", self.file, self.line, self.name())
    }
}

/// Calls whose arguments must be constants, or that only check, print or keep others out: what a change of them
/// does shows on a kernel that watches itself, if anywhere.
const SPARED: [&str; 20] = [
    "ASSERT_",
    "BUG",
    "BUILD_BUG",
    "DEBUG_NET_WARN",
    "DECLARE_",
    "DEFINE_",
    "EXPORT_SYMBOL",
    "WARN",
    "container_of",
    "lockdep_",
    "might_sleep",
    "net_warn",
    "netdev_",
    "offsetof",
    "panic",
    "pr_",
    "printk",
    "sizeof",
    "trace_",
    "typeof",
];

/// Nodes in which nothing is changed: what they hold must be constant, or is no code.
const CONSTANT: [&str; 12] = [
    "array_declarator",
    "attribute_specifier",
    "comment",
    "enum_specifier",
    "offsetof_expression",
    "preproc_call",
    "preproc_def",
    "preproc_function_def",
    "sizeof_expression",
    "string_literal",
    "struct_specifier",
    "type_descriptor",
];

/// Finds the mutants of a file, numbered from `first` on. Returns them, and the source that has them all.
pub fn find(file: &str, source: &str, first: usize) -> (Vec<Mutant>, String) {
    let tree = parse(source);
    let mut finder =
        Finder { file, source, function: String::new(), around: (0, 0), next: first, mutants: Vec::new() };
    let text = finder.emit(tree.root_node());
    // What precedes the first token is no child of the root.
    let text = format!("{}{text}{}", &source[..tree.root_node().start_byte()], tail(&tree, source));
    (finder.mutants, text)
}

fn tail<'s>(tree: &Tree, source: &'s str) -> &'s str {
    &source[tree.root_node().end_byte()..]
}

fn parse(source: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_c::LANGUAGE.into()).expect("the grammar fits the library");
    parser.parse(source, None).expect("a language is set and there is no time limit")
}

struct Finder<'s> {
    file: &'s str,
    source: &'s str,
    /// The function that is being read; empty outside of one.
    function: String,
    /// Its first and its last line.
    around: (usize, usize),
    next: usize,
    mutants: Vec<Mutant>,
}

impl Finder<'_> {
    fn raw(&self, node: Node<'_>) -> &str {
        &self.source[node.byte_range()]
    }

    /// The text of a node with the mutants in it.
    fn emit(&mut self, node: Node<'_>) -> String {
        if node.kind() == "function_definition" {
            self.function = self.name_of(node);
            self.around = lines_of(node);
            let text = self.emit_children(node);
            self.function.clear();
            return text;
        }
        if self.is_spared(node) {
            return self.raw(node).to_owned();
        }
        let mut text = self.emit_children(node);
        if self.function.is_empty() || node.has_error() {
            return text;
        }
        for becomes in self.changes(node) {
            let number = self.add(node, &becomes);
            // What a condition tests may be a pointer, and its opposite never is.
            let truth = if becomes.starts_with('!') { "!!" } else { "" };
            text = format!("(NLMUT({number}) ? ({becomes}) : {truth}({text}))");
        }
        if self.is_removable(node) {
            let number = self.add(node, "");
            text = format!("{{ if (!NLMUT({number})) {text} }}");
        }
        text
    }

    fn emit_children(&mut self, node: Node<'_>) -> String {
        let (mut text, mut at) = (String::new(), node.start_byte());
        let mut cursor = node.walk();
        let children: Vec<_> = node.children(&mut cursor).collect();
        for child in children {
            text += &self.source[at..child.start_byte()];
            text += &self.emit(child);
            at = child.end_byte();
        }
        text + &self.source[at..node.end_byte()]
    }

    fn add(&mut self, node: Node<'_>, becomes: &str) -> usize {
        let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let number = self.next;
        let (line, last) = lines_of(node);
        self.next += 1;
        self.mutants.push(Mutant {
            number,
            file: self.file.to_owned(),
            line,
            last,
            function: self.function.clone(),
            around: self.around,
            was: on_one_line(self.raw(node)),
            becomes: on_one_line(becomes),
        });
        number
    }

    fn name_of(&self, function: Node<'_>) -> String {
        let mut node = function;
        while let Some(inner) = node.child_by_field_name("declarator") {
            node = inner;
        }
        self.raw(node).to_owned()
    }

    fn is_spared(&self, node: Node<'_>) -> bool {
        let callee = match node.kind() {
            "call_expression" => node.child_by_field_name("function"),
            _ => None,
        };
        let is_static = |node: Node<'_>| node.kind() == "declaration" && self.raw(node).starts_with("static");
        // `case 1:` is a constant, what follows it is not: it is spared by field, below.
        CONSTANT.contains(&node.kind())
            || is_static(node)
            || is_label(node)
            || is_rest_of_declaration(node)
            || is_of_preprocessor(node)
            || callee.is_some_and(|name| is_spared_call(self.raw(name)))
    }

    /// Other expressions in place of this one.
    fn changes(&self, node: Node<'_>) -> Vec<String> {
        let mut changes = match node.kind() {
            "binary_expression" => self.of_binary(node),
            "unary_expression" => self.of_error(node),
            "number_literal" => self.of_number(node),
            "true" => vec!["false".to_owned()],
            "false" => vec!["true".to_owned()],
            _ => Vec::new(),
        };
        let operator = node.child_by_field_name("operator").map_or("", |operator| operator.kind());
        if is_condition(node) && !["==", "!="].contains(&operator) {
            changes.push(format!("!({})", self.raw(node)));
        }
        changes
    }

    fn of_binary(&self, node: Node<'_>) -> Vec<String> {
        let part = |name| node.child_by_field_name(name);
        let (Some(left), Some(operator), Some(right)) = (part("left"), part("operator"), part("right"))
        else {
            return Vec::new();
        };
        let (left, right) = (self.raw(left), self.raw(right));
        let other = match operator.kind() {
            "&&" | "||" => return vec![format!("!!({left})"), format!("!!({right})")],
            "==" => "!=",
            "!=" => "==",
            "<" => "<=",
            "<=" => "<",
            ">" => ">=",
            ">=" => ">",
            "+" => "-",
            "-" => "+",
            "&" => "|",
            "|" => "&",
            "<<" => ">>",
            ">>" => "<<",
            _ => return Vec::new(),
        };
        vec![format!("{left} {other} {right}")]
    }

    /// Another error in place of `-EINVAL`.
    fn of_error(&self, node: Node<'_>) -> Vec<String> {
        let text = self.raw(node);
        let is_errno = |name: &str| {
            name.starts_with('E')
                && name.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit())
        };
        match text.strip_prefix('-').filter(|name| is_errno(name)) {
            Some("EIO") => vec!["-EPERM".to_owned()],
            Some(_) => vec!["-EIO".to_owned()],
            None => Vec::new(),
        }
    }

    fn of_number(&self, node: Node<'_>) -> Vec<String> {
        match self.raw(node) {
            // The statement that assigns it can be left out.
            _ if node.parent().is_some_and(|parent| parent.kind() == "assignment_expression") => Vec::new(),
            "1" => vec!["0".to_owned()],
            number => vec![format!("{number} + 1")],
        }
    }

    /// Whether a statement can be left out, such as an assignment or a call for its effect.
    fn is_removable(&self, node: Node<'_>) -> bool {
        let does = ["assignment_expression", "call_expression", "update_expression"];
        let inner = node.named_child(0).filter(|inner| does.contains(&inner.kind()));
        node.kind() == "expression_statement" && inner.is_some_and(|inner| !self.is_spared(inner))
    }
}

/// The first and the last line of a node, counted from 1.
fn lines_of(node: Node<'_>) -> (usize, usize) {
    (node.start_position().row + 1, node.end_position().row + 1)
}

fn is_spared_call(name: &str) -> bool {
    // The head of a loop is no statement, whatever it looks like to the parser.
    let is_no_act = ["for_each", "lock", "synchronize"].iter().any(|part| name.contains(part));
    is_no_act || SPARED.iter().any(|spared| name.starts_with(spared))
}

/// Whether a node is the value of `case`.
fn is_label(node: Node<'_>) -> bool {
    let case = node.parent().filter(|parent| parent.kind() == "case_statement");
    case.and_then(|case| case.child_by_field_name("value")) == Some(node)
}

/// Whether a node is the condition of `#if`.
fn is_of_preprocessor(node: Node<'_>) -> bool {
    let line = node.parent().filter(|parent| ["preproc_if", "preproc_elif"].contains(&parent.kind()));
    line.and_then(|line| line.child_by_field_name("condition")) == Some(node)
}

/// Whether a node is what follows a declaration for the compiler only, such as `__aligned(8)`: the parser
/// takes it for a statement, and misses the end of the one before.
fn is_rest_of_declaration(node: Node<'_>) -> bool {
    node.prev_sibling().is_some_and(|before| before.kind() == "declaration" && before.has_error())
}

/// Whether a node decides where to go on.
fn is_condition(node: Node<'_>) -> bool {
    let Some(parent) = node.parent().filter(|_| node.is_named()) else { return false };
    let is_of = |outer: Node<'_>, inner| outer.child_by_field_name("condition") == Some(inner);
    match parent.kind() {
        // Not of `a ?: b`, where it is also the value.
        "conditional_expression" => {
            is_of(parent, node) && parent.child_by_field_name("consequence").is_some()
        }
        "for_statement" => is_of(parent, node),
        "parenthesized_expression" => parent.parent().is_some_and(|outer| {
            ["if_statement", "while_statement", "do_statement"].contains(&outer.kind())
                && is_of(outer, parent)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(body: &str) -> Vec<(String, String)> {
        let source = format!("/* head */\nstatic int f(int a)\n{{\n{body}\n}}\n");
        let (mutants, _) = find("net/a.c", &source, 1);
        mutants.into_iter().map(|mutant| (mutant.was, mutant.becomes)).collect()
    }

    fn is(was: &str, becomes: &str) -> (String, String) {
        (was.to_owned(), becomes.to_owned())
    }

    #[test]
    fn conditions_comparisons_errors_and_statements_are_changed() {
        let found = changes("if (a < 3)\n\treturn -EINVAL;\ng(a);\nreturn a == b;");
        let expected = [
            is("3", "3 + 1"),
            is("a < 3", "a <= 3"),
            is("a < 3", "!(a < 3)"),
            is("-EINVAL", "-EIO"),
            is("g(a);", ""),
            is("a == b", "a != b"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn constants_checks_and_messages_are_left_alone() {
        for body in [
            "switch (a) {\ncase 3:\n\tbreak;\n}",
            "static int x = 3;",
            "char x[3];",
            "BUILD_BUG_ON(a != 3);",
            "pr_err(\"x\", 3);",
            "spin_lock_bh(&a->lock);",
            "for_each(x, a + 1)\n\t;",
            "return sizeof(x);",
            "char x[SIZE] __aligned(8);",
            "#if defined(A) && defined(B)\n#endif",
            "return a ?: f(a);",
        ] {
            assert_eq!(changes(body), [], "{body}");
        }
    }

    #[test]
    fn the_source_has_all_mutants_and_nothing_else_changes() {
        let source = "#include <x.h>\n\nint f(int a)\n{\n\tif (a)\n\t\tg();\n\treturn 0;\n}\n";
        let (mutants, text) = find("net/a.c", source, 7);
        assert_eq!(mutants.iter().map(|mutant| mutant.number).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(
            text,
            "#include <x.h>\n\nint f(int a)\n{\n\tif ((NLMUT(7) ? (!(a)) : !!(a)))\n\t\t\
             { if (!NLMUT(8)) g(); }\n\treturn (NLMUT(9) ? (0 + 1) : (0));\n}\n"
        );
        assert_eq!(mutants[1].name(), "net/a.c: f: g(); -> (nothing)");
        assert_eq!((mutants[1].line, mutants[1].last, mutants[1].function.as_str()), (6, 6, "f"));
        assert_eq!(mutants[1].around, (3, 8));
    }

    #[test]
    fn a_loop_made_by_a_macro_is_not_broken() {
        let (mutants, text) = find("a.c", "void f(void)\n{\n\tfor_each(x, y + 1)\n\t\tg(x);\n}\n", 1);
        assert!(text.contains("for_each(x, y + 1)\n\t\t{ if (!NLMUT("), "{text}");
        assert_eq!(mutants.len(), 1, "{mutants:?}");
    }
}
