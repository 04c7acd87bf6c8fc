//! The table of vectors: one row of half-precision numbers for each token, from a safetensors file.

use std::collections::HashMap;

use serde::Deserialize;

use super::error::Problem;

/// Four times what the table in use has.
pub(super) const MAX_FILE: u64 = 64 << 20;
const MAX_HEADER: usize = 1 << 20;
const MAX_DIMENSION: usize = 1024;

pub(super) struct Weights {
    /// Little-endian halves, row after row: as in the file, for half the memory that single precision takes.
    halves: Vec<u8>,
    rows: usize,
    dimension: usize,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Weights {
    pub(super) fn parse(mut file: Vec<u8>) -> Result<Weights, Problem> {
        let length = file.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let length =
            length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= MAX_HEADER);
        let length =
            length.ok_or_else(|| Problem::malformed("it does not begin with the length of a header"))?;
        let start = 8 + length;
        let header = file.get(8..start).ok_or_else(|| Problem::malformed("it ends within its header"))?;
        let mut entries: HashMap<String, serde_json::Value> = serde_json::from_slice(header)
            .map_err(|error| Problem::malformed(format!("its header is no JSON object: {error}")))?;
        entries.remove("__metadata__");
        let mut tensors = entries.into_values();
        let (Some(tensor), None) = (tensors.next(), tensors.next()) else {
            return Err(Problem::malformed("it does not hold exactly one tensor"));
        };
        let tensor: Tensor = serde_json::from_value(tensor).map_err(|error| {
            Problem::malformed(format!("its tensor is not described as it must be: {error}"))
        })?;
        let (&[rows, dimension], "F16") = (tensor.shape.as_slice(), tensor.dtype.as_str()) else {
            return Err(Problem::malformed("its tensor is not a matrix of F16"));
        };
        if rows == 0 || dimension == 0 || dimension > MAX_DIMENSION {
            return Err(Problem::malformed(format!("a matrix of {rows} by {dimension} is not of use")));
        }
        let (begin, end) = tensor.data_offsets;
        let bytes = rows.checked_mul(dimension).and_then(|cells| cells.checked_mul(2));
        if begin > end
            || bytes != Some(end - begin)
            || start.checked_add(end).is_none_or(|end| end > file.len())
        {
            return Err(Problem::malformed("its data are not where its header says"));
        }
        file.truncate(start + end);
        file.drain(..start + begin);
        Ok(Weights { halves: file, rows, dimension })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds `weight` times the row of a token to `sum`. A token without a row adds nothing.
    pub(super) fn add(&self, token: u32, weight: f32, sum: &mut [f32]) {
        let size = self.dimension * 2;
        let begin = usize::try_from(token).ok().and_then(|token| token.checked_mul(size));
        let Some(row) = begin.and_then(|begin| self.halves.get(begin..begin.checked_add(size)?)) else {
            return;
        };
        for (sum, half) in sum.iter_mut().zip(row.as_chunks::<2>().0) {
            *sum += weight * single(u16::from_le_bytes(*half));
        }
    }
}

/// The value of a half-precision number. Infinities and NaN, which no good table has, become large finite numbers.
fn single(half: u16) -> f32 {
    // The exponent of a half is 112 lower than that of a single with the same bits; the product also sets subnormals right.
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * SCALE;
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn a_row_is_found_and_read() {
        let header =
            r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}"#;
        let weights = Weights::parse(file(header, &[0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b])).unwrap();
        let mut sum = [1.0, 1.0];
        weights.add(0, 2.0, &mut sum);
        assert_eq!(sum.map(f32::to_bits), [3.0, -3.0].map(f32::to_bits));
        let mut sum = [0.0, 0.0];
        weights.add(1, 1.0, &mut sum);
        assert_eq!(sum.map(f32::to_bits), [2f32.powi(-24), 65504.0].map(f32::to_bits));
        weights.add(2, 1.0, &mut sum);
        assert_eq!(sum.map(f32::to_bits), [2f32.powi(-24), 65504.0].map(f32::to_bits));
    }

    #[test]
    fn files_that_lie_are_refused() {
        let tensor = |shape: &str, offsets: &str| {
            format!(r#"{{"w":{{"dtype":"F16","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        for header in [
            tensor("[2,2]", "[0,16]"),
            tensor("[4,2]", "[0,16]"),
            tensor("[2,2]", "[8,0]"),
            tensor("[18446744073709551615,2]", "[0,8]"),
            tensor("[0,2]", "[0,0]"),
            tensor("[4]", "[0,8]"),
            tensor("[2,2]", "[18446744073709551608,18446744073709551616]"),
            tensor("[2,2]", "[0,8]").replace("F16", "F32"),
            "{}".to_owned(),
            "[]".to_owned(),
            "{".to_owned(),
        ] {
            assert!(Weights::parse(file(&header, &[0; 8])).is_err(), "{header}");
        }
        assert!(Weights::parse(vec![0xff; 40]).is_err());
        assert!(Weights::parse(Vec::new()).is_err());
    }
}
