//! Templates of WGSL. The host expands them before a driver compiles them: it unrolls loops and inserts numbers.
//!
//! A driver keeps an array in registers only if every index is a constant, and not every driver unrolls loops. A register tile is
//! therefore written as a loop over names:
//!
//! ```wgsl
//! //@ for i in 0..{TM}
//! let a{i} = x[base + {i}u];
//! //@ end
//! //@ if RELU
//! //@ else
//! //@ end
//! ```
//!
//! `{NAME}` is replaced if NAME is a parameter or the variable of a loop. `{A*4+i}` is replaced by the value of this sum of
//! products. Any other brace is left as a brace of WGSL.

use std::collections::BTreeMap;

use gradamp_core::{Error, Result};

/// The numbers of one variant of a shader, by name.
pub type Parameters = BTreeMap<&'static str, i64>;

/// The WGSL of `source` for `parameters`.
///
/// **Errors:** a directive that cannot be parsed; a missing or superfluous `end`. The message gives the line.
pub fn expand(name: &str, source: &str, parameters: &Parameters) -> Result<String> {
    let lines: Vec<&str> = source.lines().collect();
    let mut scope = Scope(parameters.iter().map(|(&name, &value)| (name.to_owned(), value)).collect());
    let mut out = String::with_capacity(4 * source.len());
    let end = block(name, &lines, 0, &mut scope, Some(&mut out))?;
    match end == lines.len() {
        true => Ok(out),
        false => Err(fail(name, end, "found an `end` or `else` without `for` or `if`")),
    }
}

/// Expands the lines from `at` to the end of their block, and returns the index of the line that ends the block. If `out` is `None`,
/// only finds this line.
fn block(
    name: &str,
    lines: &[&str],
    mut at: usize,
    scope: &mut Scope,
    mut out: Option<&mut String>,
) -> Result<usize> {
    while at < lines.len() {
        let Some(directive) = lines[at].trim_start().strip_prefix("//@ ") else {
            if let Some(out) = out.as_deref_mut() {
                scope.substitute(lines[at], out);
                out.push('\n');
            }
            at += 1;
            continue;
        };
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words[..] {
            ["end"] | ["else"] => return Ok(at),
            ["for", variable, "in", range] => {
                let mut end = block(name, lines, at + 1, scope, None)?;
                if let Some(out) = out.as_deref_mut() {
                    let bounds = scope.range(range);
                    for value in bounds.ok_or_else(|| fail(name, at, "expected `for NAME in FROM..TO`"))? {
                        scope.0.push((variable.to_owned(), value));
                        end = block(name, lines, at + 1, scope, Some(out))?;
                        scope.0.pop();
                    }
                }
                at = after_end(name, lines, end)?;
            }
            ["if", condition] => {
                let holds = match out.is_some() {
                    true => scope.holds(condition).ok_or_else(|| fail(name, at, "expected a parameter"))?,
                    false => false,
                };
                let mut end = block(name, lines, at + 1, scope, out.as_deref_mut().filter(|_| holds))?;
                if lines.get(end).is_some_and(|line| line.trim() == "//@ else") {
                    end = block(name, lines, end + 1, scope, out.as_deref_mut().filter(|_| !holds))?;
                }
                at = after_end(name, lines, end)?;
            }
            _ => return Err(fail(name, at, "expected `for`, `if`, `else` or `end`")),
        }
    }
    Ok(at)
}

/// The index of the line after `at`, which must be an `end`.
fn after_end(name: &str, lines: &[&str], at: usize) -> Result<usize> {
    match lines.get(at).map(|line| line.trim()) {
        Some("//@ end") => Ok(at + 1),
        _ => Err(fail(name, at, "expected an `end`")),
    }
}

fn fail(name: &str, line: usize, message: &str) -> Error {
    Error::shape("shader template", format!("{name}.wgsl, line {}: {message}", line + 1))
}

/// The names that stand for numbers. The variable of the innermost loop is last.
struct Scope(Vec<(String, i64)>);

impl Scope {
    /// Appends `line` to `out`, with each `{…}` replaced by its value.
    fn substitute(&self, line: &str, out: &mut String) {
        let mut rest = line;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            out.push_str(before);
            let inner = after[1..].split_once('}').and_then(|(inner, rest)| Some((self.value(inner)?, rest)));
            rest = match inner {
                Some((value, rest)) => {
                    out.push_str(&value.to_string());
                    rest
                }
                None => {
                    out.push('{');
                    &after[1..]
                }
            };
        }
        out.push_str(rest);
    }

    /// The numbers of `FROM..TO`.
    fn range(&self, text: &str) -> Option<std::ops::Range<i64>> {
        let (from, to) = text.split_once("..")?;
        let value = |side: &str| self.value(side.trim_matches(['{', '}']));
        Some(value(from)?..value(to)?)
    }

    /// Whether the condition is true: `NAME` if NAME is not 0, and `!NAME` if NAME is 0.
    fn holds(&self, condition: &str) -> Option<bool> {
        match condition.strip_prefix('!') {
            Some(name) => Some(self.value(name)? == 0),
            None => Some(self.value(condition)? != 0),
        }
    }

    /// The value of a sum of products of names and numbers.
    fn value(&self, expression: &str) -> Option<i64> {
        expression
            .split('+')
            .map(|product| product.split('*').map(|f| self.factor(f.trim())).product::<Option<i64>>())
            .sum()
    }

    fn factor(&self, factor: &str) -> Option<i64> {
        let named = self.0.iter().rev().find(|(name, _)| name == factor).map(|&(_, value)| value);
        named.or_else(|| factor.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str, parameters: &[(&'static str, i64)]) -> Vec<String> {
        let text = expand("t", source, &parameters.iter().copied().collect()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn loops_are_unrolled_and_names_replaced() {
        let source =
            "a{\n//@ for i in 0..{N}\n//@ for j in 1..3\nx{i}_{j} = {i*4+j}u; {k}\n//@ end\n//@ end\n}";
        let expected = ["a{", "x0_1 = 1u; {k}", "x0_2 = 2u; {k}", "x1_1 = 5u; {k}", "x1_2 = 6u; {k}", "}"];
        assert_eq!(lines(source, &[("N", 2)]), expected);
        assert_eq!(lines(source, &[("N", 0)]), ["a{", "}"]);
    }

    #[test]
    fn conditions_choose_a_branch() {
        let source = "//@ if A\nyes\n//@ if !B\nno b\n//@ end\n//@ else\nno\n//@ end\nlast";
        assert_eq!(lines(source, &[("A", 1), ("B", 0)]), ["yes", "no b", "last"]);
        assert_eq!(lines(source, &[("A", 1), ("B", 7)]), ["yes", "last"]);
        assert_eq!(lines(source, &[("A", 0), ("B", 0)]), ["no", "last"]);
    }

    #[test]
    fn a_bad_directive_names_its_line() {
        for (source, line) in [
            ("x\n//@ for i in 0..M\n//@ end", 2),
            ("//@ if A\n", 2),
            ("//@ end", 1),
            ("//@ while", 1),
            ("x\n//@ if Z\n//@ end", 2),
        ] {
            let error = expand("t", source, &[("A", 1)].into_iter().collect()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}:")), "{source:?}: {error}");
        }
    }
}
