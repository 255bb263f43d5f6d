//! Reading task files.

use std::io::Read as _;
use std::path::Path;

use strait_proto::v1;

use crate::document::{self, Form};
use crate::error::Error;

/// Reads the document in a file, or on standard input where the path is `-`.
pub(crate) fn read_document(path: &Path, form: Form) -> Result<v1::TaskSpec, Error> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = read.map_err(|source| Error::Read { path: shown(path).into(), source })?;
    document::parse(&text, form).map_err(|source| Error::Document { path: shown(path).into(), source })
}

fn shown(path: &Path) -> &Path {
    if path == Path::new("-") { Path::new("standard input") } else { path }
}
