//! Reads the modules of a crate, with the items that they define and import. Test modules are left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::{Attribute, Item, UseTree, Visibility};

/// The modules of a crate. The first one is the root.
pub struct Crate {
    pub modules: Vec<Module>,
    /// The files of the modules, beginning with the root's file.
    pub files: Vec<PathBuf>,
}

/// A module, which has its own file or is written inside its parent's.
#[derive(Default)]
pub struct Module {
    pub parent: Option<usize>,
    pub file: usize,
    pub children: BTreeMap<String, usize>,
    /// The named items, with their visibility from outside the crate and whether rustdoc shows them.
    pub definitions: BTreeMap<String, Definition>,
    pub imports: Vec<Import>,
    pub is_public: bool,
    /// The items themselves, except for modules.
    pub items: Vec<Item>,
}

#[derive(Clone, Copy)]
pub struct Definition {
    pub is_public: bool,
}

/// A name that a `use` imports; `*` for all names of a module.
pub struct Import {
    pub path: Vec<String>,
    pub name: String,
    pub visibility: Visibility,
}

/// What a path refers to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    Module(usize),
    /// An item of the module.
    Item(usize),
    /// Something outside the crate, or a local name.
    Elsewhere,
}

/// The most re-exports to follow. The limit ends the search if re-exports refer to each other.
const DEPTH: usize = 16;

impl Crate {
    /// Reads the crate whose root is `root`.
    pub fn read(root: &Path) -> Self {
        let mut this = Self { modules: Vec::new(), files: Vec::new() };
        this.add_file(root, root.parent().unwrap(), None, true);
        this
    }

    /// Adds the module in a file. The files of its child modules are in `folder`.
    fn add_file(&mut self, path: &Path, folder: &Path, parent: Option<usize>, is_public: bool) -> usize {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.files.push(path.to_path_buf());
        self.add_module(file.items, self.files.len() - 1, folder, parent, is_public)
    }

    fn add_module(
        &mut self,
        items: Vec<Item>,
        file: usize,
        folder: &Path,
        parent: Option<usize>,
        is_public: bool,
    ) -> usize {
        let index = self.modules.len();
        self.modules.push(Module { parent, file, is_public, ..Module::default() });
        for item in items.into_iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let is_public = matches!(module.vis, Visibility::Public(_)) && !is_hidden(&module.attrs);
                    let below = folder.join(&name);
                    if let Some((_, items)) = module.content {
                        let child = self.add_module(items, file, &below, Some(index), is_public);
                        self.modules[index].children.insert(name, child);
                        continue;
                    }
                    let mut paths: Vec<PathBuf> =
                        written_paths(&module.attrs).iter().map(|path| folder.join(path)).collect();
                    if paths.is_empty() {
                        let flat = folder.join(format!("{name}.rs"));
                        paths.push(if flat.is_file() { flat } else { below.join("mod.rs") });
                    }
                    for path in paths {
                        let child = self.add_file(&path, &below, Some(index), is_public);
                        self.modules[index].children.insert(name.clone(), child);
                    }
                }
                Item::Use(import) => {
                    let mut found = Vec::new();
                    add_imports(&import.tree, &mut Vec::new(), &import.vis, &mut found);
                    self.modules[index].imports.extend(found);
                }
                item => {
                    if let Some((name, definition)) = definition(&item) {
                        // `#[macro_export]` makes a macro an item of the root, in whichever module it is written.
                        let place =
                            if matches!(item, Item::Macro(_)) && definition.is_public { 0 } else { index };
                        self.modules[place].definitions.insert(name, definition);
                    }
                    self.modules[index].items.push(item);
                }
            }
        }
        index
    }

    /// Resolves `path` as it is written in `module`.
    pub fn resolve(&self, module: usize, path: &[String]) -> Target {
        self.resolve_within(module, path, DEPTH)
    }

    fn resolve_within(&self, module: usize, path: &[String], depth: usize) -> Target {
        let Some((first, mut rest)) = path.split_first() else { return Target::Elsewhere };
        if depth == 0 {
            return Target::Elsewhere;
        }
        let mut current = match &**first {
            "crate" => 0,
            "self" => module,
            "super" => self.modules[module].parent.unwrap_or(0),
            name => match self.lookup(module, name, rest.is_empty(), depth) {
                Some(Target::Module(child)) => child,
                Some(other) => return other,
                None => return Target::Elsewhere,
            },
        };
        while let Some((name, after)) = rest.split_first() {
            current = match &**name {
                "super" => self.modules[current].parent.unwrap_or(0),
                "self" => current,
                name => match self.lookup(current, name, after.is_empty(), depth) {
                    Some(Target::Module(child)) => child,
                    Some(other) => return other,
                    None => return Target::Item(current), // for example a function that a macro generates
                },
            };
            rest = after;
        }
        Target::Module(current)
    }

    /// Resolves `name` in `module`. If the path ends with it, an item comes before a module of the same name.
    fn lookup(&self, module: usize, name: &str, is_last: bool, depth: usize) -> Option<Target> {
        let Module { children, definitions, imports, .. } = &self.modules[module];
        let item = definitions.contains_key(name).then_some(Target::Item(module));
        let child = children.get(name).map(|&child| Target::Module(child));
        if let Some(found) = if is_last { item.or(child) } else { child.or(item) } {
            return Some(found);
        }
        if let Some(import) = imports.iter().find(|import| import.name == name) {
            return Some(self.resolve_within(module, &import.path, depth - 1));
        }
        imports.iter().filter(|import| import.name == "*").find_map(|import| {
            match self.resolve_within(module, &import.path, depth - 1) {
                Target::Module(other) if other != module && depth > 1 => {
                    self.lookup(other, name, is_last, depth - 1)
                }
                _ => None,
            }
        })
    }
}

fn add_imports(tree: &UseTree, path: &mut Vec<String>, visibility: &Visibility, found: &mut Vec<Import>) {
    let mut add = |path: &[String], name: String| {
        found.push(Import { path: path.to_vec(), name, visibility: visibility.clone() });
    };
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            add_imports(&part.tree, path, visibility, found);
            path.pop();
        }
        UseTree::Name(part) if part.ident == "self" => add(path, path.last().unwrap().clone()),
        UseTree::Name(part) => {
            let name = part.ident.to_string();
            add(&[&**path, std::slice::from_ref(&name)].concat(), name);
        }
        UseTree::Rename(part) if part.ident == "self" => add(path, part.rename.to_string()),
        UseTree::Rename(part) => {
            add(&[&**path, &[part.ident.to_string()]].concat(), part.rename.to_string());
        }
        UseTree::Glob(_) => add(path, "*".into()),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| add_imports(tree, path, visibility, found));
        }
    }
}

fn definition(item: &Item) -> Option<(String, Definition)> {
    let (name, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::TraitAlias(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        Item::Macro(item) => {
            let name = item.ident.as_ref()?.to_string();
            let is_exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
            return Some((name, Definition { is_public: is_exported }));
        }
        _ => return None,
    };
    let is_public = matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes(item));
    Some((name.to_string(), Definition { is_public }))
}

/// Whether the item is compiled only for tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(test,")
        }
        meta => meta.path().is_ident("test"),
    })
}

/// The paths in `#[path = ".."]` and in `#[cfg_attr(.., path = "..")]`.
fn written_paths(attributes: &[Attribute]) -> Vec<String> {
    let mut paths = Vec::new();
    for attribute in attributes {
        let text = attribute.to_token_stream().to_string();
        if let Some((_, rest)) = text.split_once("path = \"") {
            paths.extend(rest.split('"').next().map(String::from));
        }
    }
    paths
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<syn::Path>().is_ok_and(|word| word.is_ident("hidden"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
