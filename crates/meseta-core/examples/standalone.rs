//! Runs the data plane from a resolved snapshot, with no Python at all: for benchmarks, profilers and memory checkers.
//!
//!     standalone SNAPSHOT.json [--workers N]
//!
//! Prints `listening ADDRESS:PORT` per listener and serves until the process is killed.

use meseta_core::Plane;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut path = None;
    let mut workers = 1;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--workers" => workers = words.next().ok_or("--workers takes a number")?.parse()?,
            _ => path = Some(word),
        }
    }
    let document = std::fs::read_to_string(path.ok_or("standalone SNAPSHOT.json [--workers N]")?)?;
    let plane = Plane::start(&document, workers)?;
    for listener in plane.stats().listeners {
        println!("listening {}", listener.address);
    }
    loop {
        std::thread::park();
    }
}
