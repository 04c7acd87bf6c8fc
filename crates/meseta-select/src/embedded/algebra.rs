//! The little linear algebra that is needed, in single precision and always in the same order.

/// The product of two vectors, in lanes that the compiler can keep in wide registers.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adds `factor` times `right` to `left`.
pub(super) fn add(left: &mut [f32], factor: f32, right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += factor * right;
    }
}

pub(super) fn scale(vector: &mut [f32], factor: f32) {
    for value in vector {
        *value *= factor;
    }
}

/// Makes a vector one long. One of no length, such as that of an empty text, stays as it is.
pub(super) fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > f32::MIN_POSITIVE && length.is_finite() {
        scale(vector, 1.0 / length);
    } else {
        vector.fill(0.0);
    }
}

/// The lower triangle of a symmetric positive definite matrix, in rows, is replaced by that of its Cholesky factor.
///
/// In panels of columns: what a panel takes from the rest of the matrix is products of short rows that stay in the cache.
pub(super) fn factorise(rows: &mut [Vec<f32>]) {
    const PANEL: usize = 64;
    let size = rows.len();
    for begin in (0..size).step_by(PANEL) {
        let end = (begin + PANEL).min(size);
        for at in begin..end {
            let (above, below) = rows.split_at_mut(at);
            let Some((row, _)) = below.split_first_mut() else { return };
            eliminate(above, row, begin, at);
            let (before, rest) = row.split_at_mut(at);
            let settled = before.get(begin..).unwrap_or_default();
            if let Some(diagonal) = rest.first_mut() {
                // Rounding must not make a root of nothing: the regularisation keeps what is real far above this.
                *diagonal = (*diagonal - dot(settled, settled)).max(1e-6).sqrt();
            }
        }
        let (done, rest) = rows.split_at_mut(end);
        for row in rest.iter_mut() {
            eliminate(done, row, begin, end);
        }
        let panels: Vec<Vec<f32>> =
            rest.iter().map(|row| row.get(begin..end).unwrap_or_default().to_vec()).collect();
        for (at, row) in rest.iter_mut().enumerate() {
            let Some(own) = panels.get(at) else { continue };
            let open = row.get_mut(end..).unwrap_or_default();
            for (value, panel) in open.iter_mut().zip(panels.iter().take(at + 1)) {
                *value -= dot(own, panel);
            }
        }
    }
}

/// Settles the columns `begin..end` of a row against the settled rows of the same panel.
fn eliminate(settled: &[Vec<f32>], row: &mut [f32], begin: usize, end: usize) {
    for column in begin..end {
        let Some(factor) = settled.get(column) else { return };
        let (before, rest) = row.split_at_mut(column);
        let known = before.get(begin..).unwrap_or_default();
        let product = dot(known, factor.get(begin..column).unwrap_or_default());
        if let (Some(value), Some(diagonal)) = (rest.first_mut(), factor.get(column)) {
            *value = (*value - product) / diagonal;
        }
    }
}

/// Solves for all columns of `sides` (rows as long as there are columns) at once, given the factor of the matrix.
pub(super) fn solve(factor: &[Vec<f32>], sides: &mut [Vec<f32>]) {
    for (at, row) in factor.iter().enumerate() {
        let (above, below) = sides.split_at_mut(at);
        let Some(side) = below.first_mut() else { return };
        for (above, value) in above.iter().zip(row) {
            add(side, -value, above);
        }
        let diagonal = row.get(at).copied().unwrap_or(1.0);
        scale(side, 1.0 / diagonal);
    }
    for (at, row) in factor.iter().enumerate().rev() {
        let (above, below) = sides.split_at_mut(at);
        let Some(side) = below.first_mut() else { continue };
        let diagonal = row.get(at).copied().unwrap_or(1.0);
        scale(side, 1.0 / diagonal);
        for (above, value) in above.iter_mut().zip(row) {
            add(above, -value, side);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_larger_than_a_panel_is_solved() {
        let size = 150;
        let cell = |row: usize, column: usize| {
            let distance = f32::from(u16::try_from(row.abs_diff(column)).unwrap());
            (-distance / 3.0).exp() + if row == column { 0.5 } else { 0.0 }
        };
        let mut rows: Vec<Vec<f32>> =
            (0..size).map(|row| (0..=row).map(|column| cell(row, column)).collect()).collect();
        let truth: Vec<f32> = (0..size).map(|at| f32::from(u16::try_from(at % 7).unwrap()) - 3.0).collect();
        let mut sides: Vec<Vec<f32>> = (0..size)
            .map(|row| vec![(0..size).map(|column| cell(row, column) * truth[column]).sum(), 0.0])
            .collect();
        factorise(&mut rows);
        solve(&rows, &mut sides);
        for (side, truth) in sides.iter().zip(&truth) {
            assert!((side[0] - truth).abs() < 1e-3, "{} is not {truth}", side[0]);
            assert!(side[1].abs() < 1e-6);
        }
    }

    #[test]
    fn a_vector_of_no_length_stays() {
        let mut vector = [0.0; 3];
        normalise(&mut vector);
        assert_eq!(vector.map(f32::to_bits), [0; 3]);
    }
}
