//! The handle of a running plane.

use std::time::Duration;

use meseta_core::plane::{GateStats, SessionStats, SharedStats};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::{errors, health};

/// A data plane that serves. It starts when it is made and stops when it is stopped or collected.
///
/// `snapshot` is the resolved document as JSON text; `workers` is the number of worker threads.
#[pyclass(frozen, module = "meseta._core")]
pub struct Plane(meseta_core::Plane);

#[pymethods]
impl Plane {
    #[new]
    #[pyo3(signature = (snapshot, *, workers))]
    fn new(py: Python<'_>, snapshot: &str, workers: usize) -> PyResult<Plane> {
        py.detach(|| meseta_core::Plane::start(snapshot, workers)).map(Plane).map_err(errors::start)
    }

    /// Exchanges the snapshot, whole or not at all. Requests in flight end on the old one.
    fn swap(&self, py: Python<'_>, snapshot: &str) -> PyResult<()> {
        py.detach(|| self.0.swap(snapshot)).map_err(errors::start)
    }

    /// Stops: no new connections, requests in flight get `drain_seconds` to finish. True if all of them did.
    #[pyo3(signature = (*, drain_seconds))]
    fn stop(&self, py: Python<'_>, drain_seconds: f64) -> bool {
        let drain = Duration::try_from_secs_f64(drain_seconds).unwrap_or(Duration::ZERO);
        py.detach(|| self.0.stop(drain))
    }

    /// The state of every target and of each of its keys. Times are milliseconds; `until_ms` counts from now.
    #[pyo3(signature = () -> "list[dict[str, object]]")]
    fn health<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let targets = py.detach(|| self.0.health());
        targets.iter().map(|target| health::target(py, target)).collect()
    }

    /// Forgets the failures and limits of one target, or of all of them; how many had any.
    #[pyo3(signature = (target = None))]
    fn reset_health(&self, py: Python<'_>, target: Option<&str>) -> usize {
        py.detach(|| self.0.reset_health(target))
    }

    /// What is under way for every agent: `id`, `waiting` and `in_flight` requests, and `idle_ms` since one last came
    /// (none when none has).
    #[pyo3(signature = () -> "list[dict[str, object]]")]
    fn agents<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let agents = py.detach(|| self.0.agents());
        agents
            .iter()
            .map(|agent| {
                let row = PyDict::new(py);
                row.set_item("id", &agent.id)?;
                row.set_item("waiting", agent.waiting)?;
                row.set_item("in_flight", agent.in_flight)?;
                row.set_item(
                    "idle_ms",
                    agent.idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
                )?;
                Ok(row)
            })
            .collect()
    }

    /// The agents that requests wait for because they have no instance: as soon as somebody begins to wait, or when
    /// `timeout_seconds` are over.
    #[pyo3(signature = (timeout_seconds))]
    fn wanted(&self, py: Python<'_>, timeout_seconds: f64) -> Vec<String> {
        let patience = Duration::try_from_secs_f64(timeout_seconds).unwrap_or(Duration::ZERO);
        py.detach(|| self.0.wanted(patience))
    }

    /// Counters and the addresses that are open.
    #[pyo3(signature = () -> "dict[str, object]")]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.0.stats());
        let listeners = PyList::empty(py);
        for listener in &stats.listeners {
            let row = PyDict::new(py);
            row.set_item("name", &listener.name)?;
            row.set_item("address", listener.address.ip().to_string())?;
            row.set_item("port", listener.address.port())?;
            row.set_item("tls", listener.tls)?;
            row.set_item("connections", listener.connections)?;
            listeners.append(row)?;
        }
        let log = PyDict::new(py);
        log.set_item("written", stats.log.written)?;
        log.set_item("dropped", stats.log.dropped)?;
        log.set_item("queued", stats.log.queued)?;
        let document = PyDict::new(py);
        document.set_item("snapshot", stats.snapshot)?;
        document.set_item("listeners", listeners)?;
        document.set_item("requests", stats.requests)?;
        document.set_item("in_flight", stats.in_flight)?;
        document.set_item("errors", stats.errors)?;
        document.set_item("connections", stats.connections)?;
        document.set_item("refused_connections", stats.refused_connections)?;
        document.set_item("panics", stats.panics)?;
        document.set_item("unkept_responses", stats.unkept_responses)?;
        document.set_item("log", log)?;
        document.set_item("sessions", sessions(py, &stats.sessions)?)?;
        let choices = PyDict::new(py);
        for (step, outcome, count) in &stats.choices {
            choices.set_item(format!("{step}.{outcome}"), count)?;
        }
        document.set_item("choices", choices)?;
        document.set_item("admission", stats.admission.map(|gate| admission(py, &gate)).transpose()?)?;
        document.set_item("shared", stats.shared.map(|store| shared(py, &store)).transpose()?)?;
        Ok(document)
    }
}

fn sessions<'py>(py: Python<'py>, stats: &SessionStats) -> PyResult<Bound<'py, PyDict>> {
    let document = PyDict::new(py);
    document.set_item("pins", stats.pins)?;
    let decisions = PyDict::new(py);
    for (decision, count) in &stats.decisions {
        decisions.set_item(decision, count)?;
    }
    document.set_item("decisions", decisions)?;
    Ok(document)
}

fn admission<'py>(py: Python<'py>, stats: &GateStats) -> PyResult<Bound<'py, PyDict>> {
    let document = PyDict::new(py);
    document.set_item("in_flight", stats.in_flight)?;
    document.set_item("waiting", stats.waiting)?;
    document.set_item("admitted", stats.admitted)?;
    let refused = PyDict::new(py);
    for (reason, count) in &stats.refused {
        refused.set_item(reason, count)?;
    }
    document.set_item("refused", refused)?;
    let tenants = PyList::empty(py);
    for tenant in &stats.tenants {
        let row = PyDict::new(py);
        row.set_item("name", &*tenant.name)?;
        row.set_item("in_flight", tenant.in_flight)?;
        row.set_item("waiting", tenant.waiting)?;
        tenants.append(row)?;
    }
    document.set_item("tenants", tenants)?;
    Ok(document)
}

fn shared<'py>(py: Python<'py>, stats: &SharedStats) -> PyResult<Bound<'py, PyDict>> {
    let document = PyDict::new(py);
    document.set_item("address", &stats.address)?;
    document.set_item("connected", stats.connected)?;
    document.set_item("slow", stats.slow)?;
    let counters = [
        ("gets", stats.gets),
        ("hits", stats.hits),
        ("timeouts", stats.timeouts),
        ("skipped", stats.skipped),
        ("puts", stats.puts),
        ("dropped", stats.dropped),
        ("refused", stats.refused),
        ("errors", stats.errors),
    ];
    for (name, count) in counters {
        document.set_item(name, count)?;
    }
    document.set_item("last_error", &stats.last_error)?;
    Ok(document)
}
