//! Rust's errors as Python's exceptions. The match below has no wildcard, so a new cause does not compile until it is
//! mapped.

use pyo3::PyErr;
use pyo3::exceptions::PyException;

pyo3::create_exception!(_core, MesetaError, PyException, "What every exception of the native module is.");
pyo3::create_exception!(_core, SnapshotError, MesetaError, "The resolved configuration was refused.");
pyo3::create_exception!(_core, BindError, MesetaError, "A listener could not be opened.");
pyo3::create_exception!(_core, LogError, MesetaError, "The log could not be opened or read.");

pub fn start(error: meseta_core::StartError) -> PyErr {
    use meseta_core::StartError;
    match error {
        StartError::Snapshot(error) => SnapshotError::new_err(error.to_string()),
        StartError::Bind(message) => BindError::new_err(message),
        StartError::Log(error) => LogError::new_err(error.to_string()),
    }
}

pub fn snapshot(error: meseta_core::snapshot::SnapshotError) -> PyErr {
    start(meseta_core::StartError::Snapshot(error))
}

pub fn log(error: meseta_core::log::LogError) -> PyErr {
    start(meseta_core::StartError::Log(error))
}
