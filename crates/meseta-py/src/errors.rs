//! Rust's errors as the exceptions of `meseta.errors`. The match below has no wildcard, so a new cause does not compile
//! until it is mapped.

use pyo3::PyErr;

pyo3::import_exception!(meseta.errors, SnapshotError);
pyo3::import_exception!(meseta.errors, BindError);
pyo3::import_exception!(meseta.errors, LogError);
pyo3::import_exception!(meseta.errors, StoreError);

pub fn start(error: meseta_core::StartError) -> PyErr {
    use meseta_core::StartError;
    match error {
        StartError::Snapshot(error) => SnapshotError::new_err(error.to_string()),
        StartError::Bind(message) => BindError::new_err(message),
        StartError::Log(error) => LogError::new_err(error.to_string()),
        StartError::Store(message) => StoreError::new_err(message),
    }
}

pub fn snapshot(error: meseta_core::snapshot::SnapshotError) -> PyErr {
    start(meseta_core::StartError::Snapshot(error))
}

pub fn log(error: meseta_core::log::LogError) -> PyErr {
    start(meseta_core::StartError::Log(error))
}
