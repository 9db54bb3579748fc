//! Finds string literals that name the program's flags, keys or commands.

use proc_macro2::{TokenStream, TokenTree};

/// The tables of the program's configuration.
const TABLES: [&str; 7] = ["train", "strategy", "optimizer", "amplification", "data", "model", "sweep"];
/// Endings of file names, so that `config.toml` is not taken for a key.
const FILES: [&str; 5] = ["safetensors", "json", "jsonl", "toml", "bin"];
/// Fields of the libraries' settings that look like keys. (The key of a phase is `strategy.phase`.)
const FIELDS: [&str; 1] = ["phases"];
/// The program's commands.
const COMMANDS: [&str; 10] =
    ["train", "tune", "devices", "bench", "sweep", "compare", "report", "config", "verify", "watch"];

/// The string literals in a file that mention the program's flags, keys or commands. Comments and test modules are
/// left out.
pub fn that_name_the_program(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    add(text.parse().unwrap(), &mut found);
    found.retain(|text| names_the_program(text));
    found
}

/// Adds all string literals, except for those in attributes and in items for tests.
fn add(tokens: TokenStream, found: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut is_test = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                tokens.next_if(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == '!'));
                if let Some(TokenTree::Group(attribute)) = tokens.next() {
                    let attribute = attribute.stream().to_string().replace(' ', "");
                    is_test |= attribute == "test" || attribute == "cfg(test)";
                }
            }
            TokenTree::Group(group) => {
                if !is_test {
                    add(group.stream(), found);
                }
                if group.delimiter() == proc_macro2::Delimiter::Brace {
                    is_test = false;
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => is_test = false,
            TokenTree::Literal(literal) => {
                if let Ok(literal) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    found.push(literal.value());
                }
            }
            _ => {}
        }
    }
}

fn names_the_program(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let words: Vec<&str> = text.split(|c| !is_part(c)).map(|word| word.trim_end_matches('.')).collect();
    let is_flag =
        |word: &str| word.strip_prefix("--").is_some_and(|flag| flag.starts_with(char::is_alphabetic));
    let is_key = |word: &str| {
        word.split_once('.').is_some_and(|(table, key)| {
            TABLES.contains(&table)
                && key.starts_with(char::is_alphabetic)
                && !FILES.contains(&key)
                && !FIELDS.contains(&key)
        })
    };
    let is_command = |pair: &[&str]| pair[0] == "gradamp" && COMMANDS.contains(&pair[1]);
    words.iter().any(|word| is_flag(word) || is_key(word)) || words.windows(2).any(is_command)
}

#[cfg(test)]
mod tests {
    use super::that_name_the_program;

    #[test]
    fn flags_keys_and_commands_are_found_and_files_are_not() {
        let text = r##"
            //! train.device and --device in comments are allowed
            #[doc = "--device"]
            fn f() -> &'static str { g("use --device cpu"); h("strategy.phases[1].lr"); format!("set {} to train.device", r#"`gradamp tune`"#) }
            const FILES: [&str; 4] = ["model.safetensors", "gradamp trains", "a -- b", "data. And"];
            #[cfg(test)]
            mod tests { const X: &str = "--flag"; }
            #[test]
            fn t() { g("--flag") }
        "##;
        assert_eq!(
            that_name_the_program(text),
            ["use --device cpu", "set {} to train.device", "`gradamp tune`"]
        );
    }
}
