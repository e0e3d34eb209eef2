//! Finding, inheriting and reading presets.

use std::path::Path;

use toml::{Table, Value};

use super::Preset;
use super::embedded::EMBEDDED;
use crate::error::{Error, Result};

/// Keys that a preset does not inherit.
const OWN: [&str; 5] = ["name", "summary", "weights", "sizes", "total"];

/// More bases than this behind each other can only be a circle.
const DEEPEST: usize = 8;

impl Preset {
    /// The names of the presets that are compiled in, sorted.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        EMBEDDED.iter().map(|(name, _)| *name).collect()
    }

    /// The preset of a name, or the preset file at a path (anything that ends in `.toml`).
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown name, with the nearest known ones, or an unreadable file;
    /// [`Error::Config`] for a file that is not a valid preset.
    pub fn load(name_or_path: &str) -> Result<Self> {
        Self::parse(&read(name_or_path)?, name_or_path)
    }

    /// A preset from the text of its file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Config`] when the text is not a valid preset.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let table = resolve(text, origin, 0)?;
        let preset: Preset = table.try_into().map_err(|error| wrong(origin, &error))?;
        preset.validate()?;
        Ok(preset)
    }

    /// The preset as TOML, with everything it inherited.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| wrong(&self.name, &error))
    }
}

fn read(name_or_path: &str) -> Result<String> {
    if let Ok(index) = EMBEDDED.binary_search_by_key(&name_or_path, |(name, _)| *name) {
        return Ok(EMBEDDED[index].1.to_owned());
    }
    if !name_or_path.ends_with(".toml") {
        return Err(Error::Input(format!(
            "there is no preset \"{name_or_path}\": near it are {}; the path of a preset file \
             ends in .toml",
            near(name_or_path).join(", ")
        )));
    }
    std::fs::read_to_string(Path::new(name_or_path)).map_err(|error| {
        Error::Input(format!(
            "the preset file {name_or_path} cannot be read: {error}"
        ))
    })
}

/// The file's table laid over that of its base.
fn resolve(text: &str, origin: &str, depth: usize) -> Result<Table> {
    let mut own = text
        .parse::<Table>()
        .map_err(|error| wrong(origin, &error))?;
    let mut take = |key: &str| own.remove(key);
    let (base, without) = (take("base"), take("without"));
    let Some(base) = base else {
        return match without {
            None => Ok(own),
            Some(_) => Err(wrong(origin, &"`without` needs a `base`")),
        };
    };
    let base = base
        .as_str()
        .ok_or_else(|| wrong(origin, &"`base` must be a preset's name"))?;
    if depth == DEEPEST {
        return Err(wrong(
            origin,
            &format!("its bases go in a circle, at \"{base}\""),
        ));
    }
    let mut table = resolve(&read(base)?, base, depth + 1)?;
    for key in OWN {
        table.remove(key);
    }
    for section in strings(without, origin)? {
        if table.remove(&section).is_none() {
            return Err(wrong(
                origin,
                &format!("`without` names \"{section}\", which \"{base}\" does not have"),
            ));
        }
    }
    merge(&mut table, own);
    Ok(table)
}

fn strings(list: Option<Value>, origin: &str) -> Result<Vec<String>> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    list.try_into().map_err(|error| wrong(origin, &error))
}

/// Lays `over` on `table`, key by key; choices (tables with a `type`) and lists are replaced.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !above.contains_key("type") => {
                merge(below, above);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn wrong(origin: &str, problem: &dyn std::fmt::Display) -> Error {
    Error::Config(format!("preset {origin}: {problem}"))
}

/// The known names most like `name`, the nearest first.
fn near(name: &str) -> Vec<&'static str> {
    let mut names = Preset::names();
    names.sort_by_key(|known| {
        let contains = !name.is_empty() && (known.contains(name) || name.contains(known));
        (!contains, distance(name, known))
    });
    names.truncate(4);
    names
}

/// Levenshtein's distance: insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a, b, expected| assert_eq!(distance(a, b), expected, "{a} {b}");
        check("", "abc", 3);
        check("sd15", "sd15", 0);
        check("sd15", "sd21", 2);
        check("svdxt", "svd-xt", 1);
    }

    #[test]
    fn unknown_names_get_near_ones() {
        let check = |name: &str, expected: &str| {
            let error = Preset::load(name).expect_err(name).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("sd-15", "near it are sd15,");
        check("upscaler", "x4-upscaler");
        check("nowhere.toml", "cannot be read");
    }

    #[test]
    fn tables_are_laid_over_each_other() {
        let mut below: Table = "a = {x = 1, y = [1, 2]}\nb = {type = 'p', q = 1}"
            .parse()
            .expect("toml");
        let above: Table = "a = {y = [3]}\nb = {type = 'r'}".parse().expect("toml");
        merge(&mut below, above);
        let expected: Table = "a = {x = 1, y = [3]}\nb = {type = 'r'}"
            .parse()
            .expect("toml");
        assert_eq!(below, expected);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let error = Preset::parse(text, "mine").expect_err(expected).to_string();
            assert!(
                error.contains(expected) && error.contains("mine"),
                "{error}"
            );
        };
        check("name = 'mine'", "summary");
        check("base = 3", "must be a preset's name");
        check("without = ['unet']", "needs a `base`");
        check(
            "base = 'sd15'\nwithout = ['boxes']",
            "\"sd15\" does not have",
        );
        check(
            "base = 'sd15'\nname = 'mine'\nsummary = 's'\ncolour = 'red'",
            "colour",
        );
        check(
            "base = 'sd15'\nname = 'mine'\nsummary = 's'\nunet.context_width = 77",
            "context_width is 77",
        );
    }
}
