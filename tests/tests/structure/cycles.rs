//! Finds out which file of a crate uses which, and reports cycles.
//!
//! A file uses another one if it names an item that the other one defines, wherever the item is re-exported. A `pub
//! use` alone is not a use.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Macro, Visibility};

use crate::modules::{Crate, Target};

/// Files that use each other in a cycle; a shortest such cycle.
#[derive(Debug)]
pub struct Cycle {
    /// Each file, with the path by which it names an item of the next file. The last file names an item of the first.
    pub steps: Vec<(String, String)>,
    /// The number of files that all reach each other: those of this cycle and of the cycles that overlap with it.
    pub files: usize,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, path) in &self.steps {
            write!(f, "{file} uses {path} in ")?;
        }
        write!(f, "{} ({} files use each other)", self.steps[0].0, self.files)
    }
}

/// For each file, by its number: the files that it uses, each with a path that names an item of theirs.
type Graph = Vec<BTreeMap<usize, String>>;

/// Finds one shortest cycle in each group of files that all reach each other.
pub fn find(source: &Crate) -> Vec<Cycle> {
    let graph = graph(source);
    let root = source.files[0].parent().unwrap();
    let name = |file: usize| source.files[file].strip_prefix(root).unwrap().display().to_string();
    let reached: Vec<Vec<Option<usize>>> = (0..graph.len()).map(|from| predecessors(&graph, from)).collect();
    let reaches = |from: usize, to: usize| reached[from][to].is_some();

    let mut cycles = Vec::new();
    for first in 0..graph.len() {
        let group: Vec<usize> =
            (0..graph.len()).filter(|&file| reaches(first, file) && reaches(file, first)).collect();
        if group.first() != Some(&first) {
            continue; // the file is in no cycle, or its group was reported before
        }
        let shortest = group.iter().map(|&file| round_trip(&reached[file], file)).min_by_key(Vec::len);
        let files = shortest.unwrap_or_default();
        let next = files.iter().cycle().skip(1);
        let steps = files.iter().zip(next).map(|(&from, to)| (name(from), graph[from][to].clone())).collect();
        cycles.push(Cycle { steps, files: group.len() });
    }
    cycles
}

/// For each file that can be reached from `from`: the previous file on a shortest path to it.
fn predecessors(graph: &Graph, from: usize) -> Vec<Option<usize>> {
    let mut before = vec![None; graph.len()];
    let mut waiting = VecDeque::from([from]);
    while let Some(file) = waiting.pop_front() {
        for &next in graph[file].keys() {
            if before[next].is_none() {
                before[next] = Some(file);
                waiting.push_back(next);
            }
        }
    }
    before
}

/// The files of a shortest path from `start` back to itself.
fn round_trip(before: &[Option<usize>], start: usize) -> Vec<usize> {
    let mut files = Vec::new();
    let mut file = start;
    while let Some(previous) = before[file] {
        files.push(previous);
        file = previous;
        if file == start {
            break;
        }
    }
    files.reverse();
    files
}

fn graph(source: &Crate) -> Graph {
    let mut graph = vec![BTreeMap::new(); source.files.len()];
    for (index, module) in source.modules.iter().enumerate() {
        let private =
            module.imports.iter().filter(|import| matches!(import.visibility, Visibility::Inherited));
        let mut paths = Paths { found: private.map(|import| import.path.clone()).collect() };
        module.items.iter().for_each(|item| paths.visit_item(item));
        for path in paths.found {
            let target = match source.resolve(index, &path) {
                Target::Item(target) => source.modules[target].file,
                // A module's name alone is not a use; the paths that begin with this name are.
                Target::Module(_) | Target::Elsewhere => continue,
            };
            if target != module.file {
                graph[module.file].entry(target).or_insert_with(|| path.join("::"));
            }
        }
    }
    graph
}

/// All paths in a piece of code, including those in the arguments of macros.
struct Paths {
    found: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.found.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        syn::visit::visit_macro(self, call);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        // A `use` within a function.
        self.add_tree(&import.tree, &mut Vec::new());
    }
}

impl Paths {
    fn add_tree(&mut self, tree: &syn::UseTree, path: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_tree(&part.tree, path);
                path.pop();
            }
            syn::UseTree::Name(part) => {
                self.found.push([&**path, &[part.ident.to_string()]].concat());
            }
            syn::UseTree::Rename(part) => {
                self.found.push([&**path, &[part.ident.to_string()]].concat());
            }
            syn::UseTree::Glob(_) => self.found.push(path.clone()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, path)),
        }
    }

    /// Adds sequences of names that are joined by `::`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                other => {
                    self.found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.found.extend((!path.is_empty()).then_some(path));
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::crate_with;

    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let (_folder, source) = crate_with(files);
        find(&source).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_files_that_name_each_others_items_are_a_cycle() {
        let found = cycles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A; fn f(_: B) {}"),
            ("b.rs", "pub struct B; fn g() { let _ = super::a::A; }"),
            ("c.rs", "use crate::{a::A, b::B}; fn h(_: A, _: B) {}"),
        ]);
        assert_eq!(
            found,
            ["a.rs uses crate::b::B in b.rs uses super::a::A in a.rs (2 files use each other)"]
        );
    }

    #[test]
    fn a_cycle_of_three_is_found_in_macros_globs_and_reexports() {
        let found = cycles(&[
            ("lib.rs", "mod a; mod b; mod d; pub use d::deep::f;"),
            ("a.rs", "use crate::b::*; pub fn a() { b() }"),
            ("b.rs", "pub fn b() { println!(\"{}\", crate::f(1)); }"),
            ("d/mod.rs", "pub mod deep;"),
            ("d/deep.rs", "use crate::a; pub fn f(_: u8) -> u8 { a::a(); 0 }"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        for part in ["a.rs uses b in ", "b.rs uses crate::f in ", "d/deep.rs uses a::a in ", "(3 files"] {
            assert!(found[0].contains(part), "{part}: {found:?}");
        }
    }

    #[test]
    fn a_child_that_uses_its_parents_items_and_is_used_by_it_is_a_cycle() {
        let used = ("lib.rs", "mod a; pub struct Root; fn f() { a::g() }");
        assert_eq!(cycles(&[used, ("a.rs", "pub fn g() { let _ = super::Root; }")]).len(), 1);
        assert_eq!(cycles(&[used, ("a.rs", "pub fn g() {}")]).len(), 0);
    }

    #[test]
    fn modules_reexports_and_tests_are_not_uses() {
        let found = cycles(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B; pub struct Root;"),
            (
                "a.rs",
                "use crate::{Root, b}; pub struct A(pub Root); #[cfg(test)] mod tests { use crate::b::B; }",
            ),
            ("b.rs", "use crate::A; pub struct B(A); mod inner { use super::B; pub fn f(_: B) {} }"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }
}
