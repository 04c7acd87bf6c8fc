//! The load generator and the instant mock behind `benches/run.py`, in one binary.
//!
//! Both are single-threaded event loops that do as little per request as they can, so that what is
//! measured is the gateway between them. `benches/README.md` says how they are used.

use std::process::ExitCode;

mod answers;
mod api;
mod arguments;
mod client;
mod filler;
mod framing;
mod histogram;
mod load;
mod mock;
mod report;
mod request;
mod timer;

const USAGE: &str = "\
usage: generator mock --port P [--pace-us N] [--tokens N] [--body-bytes N]
       generator load --url http://ADDRESS:PORT/PATH --connections C --seconds S [--warmup S] [--rate R]
                      [--api chat|messages] [--stream] [--pace-us N] [--tokens N] [--body-bytes N] [--model NAME]
                      [--header name:value]...";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let result = match words.next().as_deref() {
        Some("mock") => arguments::mock(words).and_then(|settings| mock::serve(&settings)),
        Some("load") => arguments::load(words).and_then(|settings| load::run(&settings)),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}
