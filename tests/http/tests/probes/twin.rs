//! The probes for PowerShell, which nothing here can run: that they close what they open, and ask what their twin asks.

use http_tests::artifacts;
use std::collections::BTreeSet;

fn script(name: &str) -> String {
    let path = artifacts::repository_root().join("ops/probes").join(name);
    std::fs::read_to_string(path).expect("the script")
}

/// What stands behind one of `words`, in the quotes it is in.
fn named(text: &str, words: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        for word in words {
            for (at, _) in line.match_indices(word) {
                let rest = line[at + word.len()..].trim_start();
                let Some(quote) = rest.chars().next().filter(|first| ['\'', '"'].contains(first)) else {
                    continue;
                };
                let inner = rest[1..].split(quote).next().unwrap_or_default();
                if !inner.starts_with('$') {
                    found.insert(inner.to_owned());
                }
            }
        }
    }
    found
}

/// Every path that is asked, without its query.
fn paths(text: &str) -> BTreeSet<String> {
    let words = text.split([' ', '\'', '"', '?', '\n', ';', ')', ',']);
    let paths = words.filter(|word| {
        word.starts_with('/')
            && word.len() > 1
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    });
    paths.filter(|path| !path.starts_with("/dev/") && !path.starts_with("/usr/")).map(str::to_owned).collect()
}

#[test]
fn the_twins_ask_the_same_under_the_same_names() {
    let (bash, power) = (script("probe.sh"), script("probe.ps1"));
    let bash_names = named(&bash, &["check ", "contains ", "built "]);
    let power_names = named(&power, &["Check ", "Contains ", "Built "]);
    assert!(bash_names.len() > 25, "{bash_names:?}");
    let only = |left: &BTreeSet<String>, right: &BTreeSet<String>| -> Vec<String> {
        left.difference(right).cloned().collect()
    };
    // Said by a `case` of its own in one of them.
    let known = ["public keys: no private member".to_owned()];
    assert_eq!(only(&bash_names, &power_names), Vec::<String>::new(), "only in probe.sh");
    assert_eq!(only(&power_names, &bash_names), known, "only in probe.ps1");
    let strip = |text: &str| -> String {
        text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(paths(&strip(&bash)), paths(&strip(&power)));
}

/// Brackets outside of texts, and the texts themselves, end. Not a parser: a slip of the finger is what it finds.
fn unclosed(text: &str) -> Result<(), String> {
    let mut open = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut letters = line.chars().peekable();
        let mut quote = None;
        // Of a `"text"`, how many brackets were open when a `$(` within it began.
        let mut within: Vec<(usize, char)> = Vec::new();
        while let Some(letter) = letters.next() {
            let fault = |what: &str| format!("line {}: {what}: {line}", number + 1);
            match (quote, letter) {
                (Some('"'), '`') => drop(letters.next()),
                (Some('"'), '$') if letters.peek() == Some(&'(') => {
                    letters.next();
                    open.push('(');
                    within.push((open.len(), '"'));
                    quote = None;
                }
                (Some(ends), letter) if letter == ends => quote = None,
                (Some(_), _) => {}
                (None, '#') => break,
                (None, '\'' | '"') => quote = Some(letter),
                (None, '(' | '[' | '{') => open.push(letter),
                (None, ')' | ']' | '}') => {
                    let opener = match letter {
                        ')' => '(',
                        ']' => '[',
                        _ => '{',
                    };
                    let depth = open.len();
                    if open.pop() != Some(opener) {
                        return Err(fault("closes what is not open"));
                    }
                    if within.last().is_some_and(|(at, _)| *at == depth) {
                        quote = within.pop().map(|(_, outer)| outer);
                    }
                }
                (None, _) => {}
            }
        }
        if quote.is_some() {
            return Err(format!("line {}: a text does not end: {line}", number + 1));
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} is never closed")) }
}

#[test]
fn the_probes_for_powershell_close_what_they_open() {
    let text = script("probe.ps1");
    assert_eq!(unclosed(&text), Ok(()));
    for slip in [
        text.replacen('}', "", 1),
        text.replacen("ok'", "ok", 1),
        format!("{text}\nif ($x) {{ 'a' )"),
        format!("{text}\n\"$(1\""),
    ] {
        assert!(unclosed(&slip).is_err());
    }
}
