//! Vectors of 16-bit integers: half the memory of single precision to go through, and eight products an instruction.

/// The values times a scale, as the nearest integers. What is out of range becomes the nearest in range.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
pub(super) fn quantised(values: &[f32], scale: f32) -> impl Iterator<Item = i16> {
    values.iter().map(move |value| (value * scale).round() as i16)
}

/// The product of two vectors. Whoever makes them keeps it within 32 bits; beyond, it is wrong and no more than that.
pub(super) fn product(left: &[i16], right: &[i16]) -> f32 {
    // Of so many at a time the compiler makes products of eight in one instruction; of a whole row it does not.
    const BLOCK: usize = 32;
    let product = |(left, right): (&i16, &i16)| i32::from(*left) * i32::from(*right);
    let (blocks, rest) = left.as_chunks::<BLOCK>();
    let (others, other_rest) = right.as_chunks::<BLOCK>();
    let mut sum = rest.iter().zip(other_rest).map(product).fold(0, i32::wrapping_add);
    for (block, other) in blocks.iter().zip(others) {
        sum = sum.wrapping_add(block.iter().zip(other).map(product).fold(0, i32::wrapping_add));
    }
    #[expect(clippy::cast_precision_loss, reason = "a likeness needs no more")]
    let sum = sum as f32;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_longer_than_a_block_are_multiplied_to_their_end() {
        let left: Vec<i16> = (0..71).map(|at| at * 100 - 3000).collect();
        let right: Vec<i16> = (0..71).map(|at| 50 - at).collect();
        let truth: i32 =
            left.iter().zip(&right).map(|(left, right)| i32::from(*left) * i32::from(*right)).sum();
        assert!((f64::from(product(&left, &right)) - f64::from(truth)).abs() < 1.0);
    }

    #[test]
    fn values_out_of_range_are_cut() {
        let values: Vec<i16> = quantised(&[1.0, -0.5, 1e9, -1e9, f32::NAN], 10.0).collect();
        assert_eq!(values, [10, -5, i16::MAX, i16::MIN, 0]);
    }
}
