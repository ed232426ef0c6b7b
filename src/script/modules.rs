//! Modules that scripts import, from one folder and nowhere else.

use std::cell::Cell;
use std::path::{Component, Path, PathBuf};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::Thrown;

/// Modules that import modules, at most: those that import each other in a circle would never end.
const MOST_NESTED: usize = 16;

thread_local! {
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// A folder of modules. Each is read and run again for each import: modules share nothing between runs.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        match path.canonicalize() {
            Ok(folder) if folder.is_dir() => Ok(Self(folder)),
            Ok(_) => Err(format!("the folder of modules `{}` is not a folder", path.display())),
            Err(error) => Err(format!("the folder of modules `{}`: {error}", path.display())),
        }
    }

    /// The file of a module. Links may not lead out of the folder either.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let relative = Path::new(name);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.is_empty() || name.contains(['\\', '\0']) {
            return None;
        }
        let mut file = self.0.join(relative).into_os_string();
        file.push(".rhai");
        PathBuf::from(file).canonicalize().ok().filter(|file| file.starts_with(&self.0) && file.is_file())
    }
}

impl ModuleResolver for Folder {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        name: &str,
        at: Position,
    ) -> Result<Shared<Module>, Thrown> {
        let missing = || Box::new(EvalAltResult::ErrorModuleNotFound(name.to_owned(), at));
        let inside = |error: Thrown| Box::new(EvalAltResult::ErrorInModule(name.to_owned(), error, at));
        let file = self.file(name).ok_or_else(missing)?;
        let source = std::fs::read_to_string(file).map_err(|_| missing())?;
        let ast = engine.compile(source).map_err(|error| inside(Box::new(error.into())))?;
        let nested = NESTED.get();
        if nested == MOST_NESTED {
            let detail = format!("modules are nested deeper than {MOST_NESTED}, or import each other");
            return Err(super::failure::invalid(&detail, at));
        }
        NESTED.set(nested + 1);
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine);
        NESTED.set(nested);
        module.map(Into::into).map_err(inside)
    }
}
