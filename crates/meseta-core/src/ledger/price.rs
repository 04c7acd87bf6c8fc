//! Usage times price.

use meseta_wire::usage::Usage;

use crate::document::Price;

/// Millionths of a US dollar: a price is dollars for a million tokens, so each token costs its price in millionths.
/// `None` unless every class of tokens that was used has a price: half a sum would look like a whole one. A class of the
/// cache without a price of its own costs what input costs.
pub(crate) fn cost(usage: &Usage, price: &Price) -> Option<f64> {
    let plain = usage.input.saturating_sub(usage.cached).saturating_sub(usage.cache_write);
    let classes = [
        (plain, price.input),
        (usage.cached, price.cached_input.or(price.input)),
        (usage.cache_write, price.cache_write.or(price.input)),
        (usage.output, price.output),
    ];
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    classes
        .into_iter()
        .filter(|(tokens, _)| *tokens > 0)
        .try_fold(0.0, |sum, (tokens, price)| price.map(|price| sum + tokens as f64 * price))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Price {
        Price {
            input: Some(2.0),
            cached_input: Some(0.5),
            cache_write: None,
            output: Some(8.0),
            source: "config".to_owned(),
        }
    }

    #[test]
    fn every_class_has_its_price() {
        let usage = Usage { input: 1_000, cached: 400, cache_write: 100, output: 50, reasoning: 20 };
        // 500 × 2 + 400 × 0.5 + 100 × 2 + 50 × 8
        assert_eq!(cost(&usage, &price()), Some(1_800.0));
    }

    #[test]
    fn a_class_without_a_price_leaves_the_sum_unknown() {
        let price = Price { output: None, ..price() };
        assert_eq!(cost(&Usage { input: 10, output: 1, ..Usage::default() }, &price), None);
        assert_eq!(cost(&Usage { input: 10, ..Usage::default() }, &price), Some(20.0));
    }
}
