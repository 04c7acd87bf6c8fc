//! The manual and the simulator know the same directives.

use meseta_sim::DIRECTIVES;

const MANUAL: &str = include_str!("../../../docs/guides/simulated-provider.md");

#[test]
fn every_directive_has_its_row_and_every_row_its_directive() {
    let row =
        |(_, form, meaning): &(&str, &str, &str)| format!("| `{}` | {meaning} |", form.replace('|', "\\|"));
    let expected: Vec<String> = DIRECTIVES.iter().map(row).collect();
    let rows: Vec<&str> =
        MANUAL.lines().filter(|line| line.starts_with("| `") && line.contains("| `sim '")).collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert!(row.starts_with(expected), "{row}\n{expected}");
    }
}

#[test]
fn every_example_is_valid() {
    let models = MANUAL.split("sim '").skip(1).filter_map(|rest| rest.split('\'').next());
    for model in models {
        let (_, directives) = model.split_once(';').expect("directives");
        meseta_sim::Directives::parse(directives).unwrap_or_else(|error| panic!("{error}"));
    }
}
