//! The health of targets as plain Python data.

use std::time::Duration;

use meseta_core::{KeyStatus, ProbeStatus, TargetStatus};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub fn target<'py>(py: Python<'py>, status: &TargetStatus) -> PyResult<Bound<'py, PyDict>> {
    let keys = status.keys.iter().map(|status| key(py, status)).collect::<PyResult<Vec<_>>>()?;
    let row = PyDict::new(py);
    row.set_item("name", &status.name)?;
    row.set_item("state", status.state.as_str())?;
    row.set_item("since_ms_ago", milliseconds(status.since))?;
    row.set_item("until_ms", milliseconds(status.until))?;
    row.set_item("failures", status.failures)?;
    row.set_item("requests", status.requests)?;
    row.set_item("errors", status.errors)?;
    row.set_item("in_flight", status.in_flight)?;
    row.set_item("waiting", status.waiting)?;
    row.set_item("latency_ms", milliseconds(status.latency))?;
    row.set_item("p50_ms", milliseconds(status.p50))?;
    row.set_item("p95_ms", milliseconds(status.p95))?;
    row.set_item("cause", status.cause.map(meseta_wire::failure::Cause::as_str))?;
    row.set_item("keys", keys)?;
    row.set_item("probe", status.probe.as_ref().map(|status| probe(py, status)).transpose()?)?;
    Ok(row)
}

fn key<'py>(py: Python<'py>, status: &KeyStatus) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("number", status.number)?;
    row.set_item("state", status.state.as_str())?;
    row.set_item("until_ms", milliseconds(status.until))?;
    row.set_item("failures", status.failures)?;
    row.set_item("in_flight", status.in_flight)?;
    row.set_item("cause", status.cause.map(meseta_wire::failure::Cause::as_str))?;
    Ok(row)
}

fn probe<'py>(py: Python<'py>, status: &ProbeStatus) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("ok", status.cause.is_none())?;
    row.set_item("at_ms_ago", milliseconds(Some(status.ago)))?;
    row.set_item("error", status.cause.map(meseta_wire::failure::Cause::as_str))?;
    Ok(row)
}

/// With a fraction: a simulated provider answers within less than one.
fn milliseconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
}
