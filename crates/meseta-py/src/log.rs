//! Reading the log from Python, through the one copy of SQLite that this process has.

use std::sync::{Mutex, PoisonError};

use meseta_core::log::{Reader, Value};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::errors;

/// A read-only handle on a log. `query` runs one SELECT and returns its rows as tuples.
#[pyclass(frozen, module = "meseta._core")]
pub struct LogReader(Mutex<Reader>);

#[pymethods]
impl LogReader {
    #[new]
    fn new(py: Python<'_>, path: &str) -> PyResult<LogReader> {
        py.detach(|| Reader::open(path)).map(|reader| LogReader(Mutex::new(reader))).map_err(errors::log)
    }

    /// The rows of one SELECT. A query that takes longer than 30 seconds is stopped with a `LogError`.
    #[pyo3(signature = (sql, parameters: "list[object] | tuple[object, ...]" = Vec::new()) -> "list[tuple[object, ...]]")]
    fn query<'py>(
        &self,
        py: Python<'py>,
        sql: &str,
        parameters: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let parameters =
            parameters.into_iter().map(|object| value(&object)).collect::<PyResult<Vec<Value>>>()?;
        let rows = py.detach(|| {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).query(sql, &parameters).map_err(errors::log)
        })?;
        rows.into_iter()
            .map(|row| {
                let cells = row.into_iter().map(|cell| object(py, cell)).collect::<PyResult<Vec<_>>>()?;
                PyTuple::new(py, cells)
            })
            .collect()
    }
}

fn value(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        Ok(Value::Null)
    } else if let Ok(number) = object.extract::<i64>() {
        Ok(Value::Integer(number))
    } else if let Ok(number) = object.extract::<f64>() {
        Ok(Value::Real(number))
    } else if let Ok(text) = object.extract::<String>() {
        Ok(Value::Text(text))
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        Ok(Value::Blob(bytes.as_bytes().to_vec()))
    } else {
        Err(PyTypeError::new_err("a parameter must be None, an integer, a float, a string or bytes"))
    }
}

fn object(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Integer(number) => number.into_pyobject(py)?.into_any(),
        Value::Real(number) => number.into_pyobject(py)?.into_any(),
        Value::Text(text) => text.into_pyobject(py)?.into_any(),
        Value::Blob(bytes) => PyBytes::new(py, &bytes).into_any(),
    })
}
