use std::any::TypeId;

use clap::builder::ArgAction;
use clap::error::ErrorKind;

use super::*;

/// An option that takes a number: the command's words, the option's name, whether the number must be whole, and
/// whether the option takes a list with commas.
struct NumericOption {
    words: Vec<String>,
    name: String,
    is_whole: bool,
    is_list: bool,
}

/// Every option of every command that takes a number.
fn numeric_options() -> Vec<NumericOption> {
    fn walk(command: &clap::Command, words: &[String], found: &mut Vec<NumericOption>) {
        for arg in command.get_arguments() {
            let of = arg.get_value_parser().type_id();
            let others = [
                TypeId::of::<i64>(),
                TypeId::of::<i32>(),
                TypeId::of::<u32>(),
                TypeId::of::<u8>(),
                TypeId::of::<f32>(),
            ];
            let is_whole = of != TypeId::of::<f64>();
            assert!(
                !others.iter().any(|id| of == *id),
                "{words:?} {arg}: a type of number that the program does not parse by itself"
            );
            if is_number(arg) {
                let is_list = matches!(arg.get_action(), ArgAction::Append);
                assert!(is_list == (arg.get_value_delimiter() == Some(',')), "{words:?} {arg}");
                assert!(is_list || matches!(arg.get_action(), ArgAction::Set));
                let name = format!("--{}", arg.get_long().unwrap());
                found.push(NumericOption { words: words.to_vec(), name, is_whole, is_list });
            }
        }
        for sub in command.get_subcommands() {
            walk(sub, &[words, &[sub.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    walk(&command(), &["gradamp".to_owned()], &mut found);
    found
}

fn error_of(words: &[String], option: &str, value: &str) -> clap::Error {
    let words = words.iter().cloned().chain([option.to_owned(), value.to_owned()]);
    command().try_get_matches_from(words).unwrap_err()
}

/// Whether the value itself is accepted. Other arguments may be missing.
fn is_accepted(words: &[String], option: &str, value: &str) -> bool {
    let words = words.iter().cloned().chain([option.to_owned(), value.to_owned()]);
    let missing = [ErrorKind::MissingRequiredArgument, ErrorKind::MissingSubcommand];
    command().try_get_matches_from(words).map_or_else(|error| missing.contains(&error.kind()), |_| true)
}

#[test]
fn errors_of_numeric_options_name_the_found_and_the_expected_value() {
    let options = numeric_options();
    let named = |name: &str| options.iter().filter(|option| option.name == name).count();
    assert!(options.len() > 30 && named("--seed") > 1 && named("--lr") > 1 && named("--jobs") == 1);
    for NumericOption { words, name: option, is_whole, is_list } in options {
        let mut wrong =
            vec!["x", "", "1__0", "nan", "inf", "1e999", "0x10", "--3", if is_list { "1;5" } else { "1,5" }];
        if is_whole {
            wrong.extend(["-3", "-1", "1.5", "-1e3", "-.5", "9223372036854775808", "99999999999999999999"]);
        }
        for value in wrong {
            let error = error_of(&words, &option, value);
            let message = error.to_string();
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{words:?} {option} {value}: {message}");
            for part in [&option, &format!("found {value:?}, expected a "), "number"] {
                assert!(message.contains(part), "{words:?} {option} {value}: {message}");
            }
            assert_eq!(error.exit_code(), 2);
        }
        let right = if is_whole { ["2", "+2", "2e0", "2.0"] } else { ["-.5", "+.5", "-1e-3", "5"] };
        for value in right {
            assert!(is_accepted(&words, &option, value), "{words:?} {option} {value}");
        }
    }
}

#[test]
fn values_that_begin_with_a_dash_are_values() {
    for (words, part) in [
        (&["gradamp", "train", "--gpu-memory", "-4GiB"][..], None),
        (&["gradamp", "sweep", "a", "--shard", "-1/2"], Some("found \"-1/2\", expected I/N")),
        (&["gradamp", "watch", "a", "--once", "--size", "-3x4"], Some("found \"-3x4\", expected columns")),
        (&["gradamp", "bench", "step", "--gpu-memory", "-4GiB"], Some("found \"-4GiB\", expected an amount")),
    ] {
        match (command().try_get_matches_from(words), part) {
            (Ok(_), None) => {} // refused later, with its key, when the settings are read
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{words:?}: {found:?}"),
        }
    }
}
