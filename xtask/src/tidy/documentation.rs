//! Links between the documents of the repository.

use super::Report;
use crate::repository::File;

/// Every relative link of a Markdown file leads to a file or folder that is there.
pub(super) fn check_links(files: &[File], report: &mut Report) {
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let Some(text) = file.text() else { continue };
        for (line, target) in links(text) {
            let Some(path) = resolve(&file.path, target) else {
                continue;
            };
            let folder = format!("{path}/");
            let exists = path.is_empty()
                || files
                    .iter()
                    .any(|file| file.path == path || file.path.starts_with(&folder));
            if !exists {
                report.error(format!(
                    "{}:{line}: links to {target}, which is not there",
                    file.path
                ));
            }
        }
    }
}

/// The targets of `[…](target)` outside code blocks, with their line numbers.
fn links(text: &str) -> Vec<(usize, &str)> {
    let (mut links, mut in_code) = (Vec::new(), false);
    for (i, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code {
            let targets = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(|target| (i + 1, target)));
        }
    }
    links
}

/// The path from the root that `target` in the document `from` means; `None` for the web.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    let target = target.split_whitespace().next().unwrap_or_default();
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    if target.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::expect_errors;
    use super::*;

    fn check(readme: &str, expected: &[&str]) {
        let files = [
            File::with_text("README.md", "# A\n"),
            File::with_text("docs/recipes/a.md", readme),
        ];
        expect_errors(|report| check_links(&files, report), expected);
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        check("[a](../../README.md#a), [b](.) and [c](#c)", &[]);
        check("[a](https://example.org/x) [b](mailto:a@example.org)", &[]);
        check(
            "[a](b.md)\n[c](../recipes)",
            &["docs/recipes/a.md:1: links to b.md"],
        );
        check("![picture](../out.png \"title\")", &["../out.png"]);
        check("```\n[a](b.md)\n```\n", &[]);
    }
}
