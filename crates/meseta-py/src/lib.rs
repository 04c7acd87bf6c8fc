//! The seam between the planes, as Python sees it: documents down, rows up, and a few handles. No coroutine, no request
//! and no callback crosses; every call that may wait lets go of the interpreter first.

mod errors;
mod log;
mod plane;
mod simulator;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pyo3::pymodule]
mod _core {
    use std::collections::HashMap;

    use pyo3::prelude::*;

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

    /// The version and the build profile (`debug` or `release`) of the native module.
    #[pyfunction]
    fn build_info() -> HashMap<&'static str, &'static str> {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        HashMap::from([("version", env!("CARGO_PKG_VERSION")), ("profile", profile)])
    }
}
