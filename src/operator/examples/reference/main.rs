//! Writes what the code says about itself: the pages of `docs/reference`, and the JSON schemas of
//! the CRDs for editors. `make generate` runs it.

#![forbid(unsafe_code)]

mod crd;
mod flags;
mod schema;
mod text;

use std::{error::Error, fs, path::Path};

use kube::ResourceExt;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: reference FOLDER (the root of the repository)")?;
    let folder = Path::new(&folder);
    for crd in cognito_reset_api::crds() {
        let kind = crd.spec.names.kind.to_lowercase();
        let crd = serde_json::to_value(&crd).map_err(|error| format!("{}: {error}", crd.name_any()))?;
        let schema = serde_json::to_string_pretty(&schema::for_editors(&crd)?)? + "\n";
        write(folder, &format!("crds/schemas/{kind}.json"), &schema)?;
        write(folder, &format!("docs/reference/{kind}.md"), &crd::page(&crd)?)?;
    }
    write(folder, "docs/reference/flags.md", &flags::page())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))?)
}
