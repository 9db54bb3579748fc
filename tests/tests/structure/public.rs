//! Lists the items of a crate that its users can reach: structs, enums, unions, traits, functions, types, constants,
//! statics and macros.

use std::collections::BTreeSet;

use syn::Visibility;

use crate::modules::{Crate, Target};

/// Each reachable item once, named by the module that defines it and its own name.
pub fn items(source: &Crate) -> Vec<String> {
    let mut found = BTreeSet::new();
    add_module(source, 0, &mut found, &mut BTreeSet::new());
    let path = |(module, name): &(usize, String)| format!("{}::{name}", path(source, *module));
    found.iter().map(path).collect()
}

fn add_module(
    source: &Crate,
    module: usize,
    found: &mut BTreeSet<(usize, String)>,
    visited: &mut BTreeSet<usize>,
) {
    if !visited.insert(module) {
        return;
    }
    let this = &source.modules[module];
    let public = this.definitions.iter().filter(|(_, definition)| definition.is_public);
    found.extend(public.map(|(name, _)| (module, name.clone())));
    for &child in this.children.values().filter(|&&child| source.modules[child].is_public) {
        add_module(source, child, found, visited);
    }
    for import in this.imports.iter().filter(|import| matches!(import.visibility, Visibility::Public(_))) {
        match source.resolve(module, &import.path) {
            Target::Module(other) => add_module(source, other, found, visited),
            Target::Item(other) => {
                found.insert((other, import.path.last().unwrap().clone()));
            }
            Target::Elsewhere => {}
        }
    }
}

fn path(source: &Crate, module: usize) -> String {
    let Some(parent) = source.modules[module].parent else { return "crate".into() };
    let mut children = source.modules[parent].children.iter();
    let name = children.find(|(_, child)| **child == module).map_or("", |(name, _)| name);
    format!("{}::{name}", path(source, parent))
}

#[cfg(test)]
mod tests {
    use super::items;
    use crate::crate_with;

    #[test]
    fn reachable_items_are_counted_once() {
        let root = "\
            pub mod open; mod closed; pub use closed::{A, deep}; pub use open::f as again;
            pub struct Root; struct Hidden; #[doc(hidden)] pub fn unseen() {} pub(crate) fn inner() {}";
        let (_folder, source) = crate_with(&[
            ("lib.rs", root),
            ("open.rs", "pub fn f() {} fn g() {}"),
            ("closed/mod.rs", "pub struct A; pub struct NotReexported; pub mod deep;"),
            ("closed/deep.rs", "pub const DEEP: u8 = 0; #[macro_export] macro_rules! m { () => {} }"),
        ]);
        let found = items(&source);
        let expected =
            ["crate::Root", "crate::m", "crate::closed::A", "crate::closed::deep::DEEP", "crate::open::f"];
        assert_eq!(BTree::from_iter(found), BTree::from_iter(expected.map(String::from)));
    }

    type BTree = std::collections::BTreeSet<String>;
}
