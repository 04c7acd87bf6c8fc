//! Embeddings: unit vectors drawn from a hash of the input, so that equal inputs are near and others are not.

use std::fmt::Write;

use crate::fingerprint::Fingerprint;

/// A unit vector. Only additions, multiplications and roots are used: they round alike on every machine.
pub fn vector(seed: Fingerprint, dimensions: u64) -> Vec<f32> {
    let signed = |index| ((seed.draw(index) >> 32) as u32).cast_signed();
    let raw: Vec<f64> = (0..dimensions).map(|index| f64::from(signed(index)) / 2_147_483_648.0).collect();
    let length = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "embeddings are 32-bit floats on the wire")]
    raw.iter().map(|value| (value / length) as f32).collect()
}

/// A vector as a JSON array.
pub fn floats(vector: &[f32], out: &mut String) {
    out.push('[');
    for (at, value) in vector.iter().enumerate() {
        let _ = write!(out, "{}{value}", if at == 0 { "" } else { "," });
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_differ() {
        let (one, other) = (vector(Fingerprint::of(b"a"), 256), vector(Fingerprint::of(b"b"), 256));
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        assert!((product(&one, &one) - 1.0).abs() < 1e-5);
        assert!(product(&one, &other).abs() < 0.5);
    }
}
