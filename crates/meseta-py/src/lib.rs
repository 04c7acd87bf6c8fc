//! The seam between the planes, as Python sees it: documents down, rows up, and a few handles. No coroutine, no request
//! and no callback crosses; every call that may wait lets go of the interpreter first.

mod chooser;
mod errors;
mod health;
mod log;
mod plane;
mod simulator;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pyo3::pymodule]
mod _core {
    use std::collections::HashMap;

    use meseta_wire::dialect::Dialect;
    use meseta_wire::feature::Feature;
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    #[pymodule_export]
    use crate::chooser::Chooser;
    #[pymodule_export]
    use crate::log::LogReader;
    #[pymodule_export]
    use crate::plane::Plane;
    #[pymodule_export]
    use crate::simulator::Simulator;

    /// Parses a resolved document and returns it in canonical form; raises `SnapshotError` where a plane would.
    #[pyfunction]
    fn check_snapshot(snapshot: &str) -> PyResult<String> {
        use meseta_core::snapshot::{Document, Snapshot};
        Snapshot::parse(snapshot).map_err(crate::errors::snapshot)?;
        let document = Document::parse(snapshot).map_err(crate::errors::snapshot)?;
        serde_json::to_string(&document).map_err(|error| {
            crate::errors::SnapshotError::new_err(format!("the document cannot be written: {error}"))
        })
    }

    /// Every error code of the request path: code, status, blame, retry, cause, cure.
    #[pyfunction]
    fn error_codes() -> Vec<(&'static str, u16, &'static str, &'static str, &'static str, &'static str)> {
        meseta_core::Code::ALL
            .iter()
            .map(|code| {
                (
                    code.as_str(),
                    code.status(),
                    code.blame().as_str(),
                    code.retry().as_str(),
                    code.cause(),
                    code.cure(),
                )
            })
            .collect()
    }

    /// The stages of a request, in the order in which they happen.
    #[pyfunction]
    fn stages() -> Vec<&'static str> {
        meseta_core::stages::Stage::ALL.iter().map(|stage| stage.name()).collect()
    }

    /// What becomes of every feature in every dialect: `name`, `note`, `fates` by dialect, `paths` by client dialect.
    #[pyfunction]
    #[pyo3(signature = () -> "list[dict[str, object]]")]
    fn features(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
        let rows = Feature::ALL.iter().map(|feature| {
            let fates = PyDict::new(py);
            let paths = PyDict::new(py);
            for dialect in Dialect::ALL {
                fates.set_item(dialect.as_str(), feature.fate(dialect).as_str())?;
                paths.set_item(dialect.as_str(), feature.path(dialect))?;
            }
            let row = PyDict::new(py);
            row.set_item("name", feature.as_str())?;
            row.set_item("note", feature.note())?;
            row.set_item("fates", fates)?;
            row.set_item("paths", paths)?;
            Ok(row)
        });
        rows.collect()
    }

    /// The dialects by name and title, in the order of every table of them.
    #[pyfunction]
    fn dialects() -> Vec<(&'static str, &'static str)> {
        Dialect::ALL.iter().map(|dialect| (dialect.as_str(), dialect.title())).collect()
    }

    /// The version and the build profile (`debug` or `release`) of the native module.
    #[pyfunction]
    fn build_info() -> HashMap<&'static str, &'static str> {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        HashMap::from([("version", env!("CARGO_PKG_VERSION")), ("profile", profile)])
    }
}
