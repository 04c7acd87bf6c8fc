//! The simulated provider as a Python handle.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::errors::BindError;

/// A simulated provider on a thread of its own. It serves from when it is made until it is stopped or collected.
///
/// `port` 0 takes a free one; `script` is the JSON text of scripted answers.
#[pyclass(frozen, module = "meseta._core")]
pub struct Simulator {
    url: String,
    running: Mutex<Option<meseta_sim::Simulator>>,
}

#[pymethods]
impl Simulator {
    #[new]
    #[pyo3(signature = (*, address = "127.0.0.1", port = 0, script = None))]
    fn new(py: Python<'_>, address: &str, port: u16, script: Option<&str>) -> PyResult<Simulator> {
        let simulator = py
            .detach(|| meseta_sim::Simulator::start(address, port, script))
            .map_err(|error| BindError::new_err(error.to_string()))?;
        Ok(Simulator { url: simulator.url(), running: Mutex::new(Some(simulator)) })
    }

    /// Its base URL, such as `http://127.0.0.1:12099/v1`.
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    /// Stops it; its connections end.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}
